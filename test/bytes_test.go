package test

import (
	"fmt"
	"hash/fnv"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// sumOf is what the probe's verb sum prints of its arguments.
func sumOf(args []string) string {
	h := fnv.New64a()
	for _, arg := range args {
		h.Write(append([]byte(arg), 0))
	}
	return fmt.Sprintf("%d %016x\n", len(args), h.Sum64())
}

// everyByte returns all bytes that an argument can hold, or a file name.
func everyByte(but ...byte) string {
	var every []byte
	for b := 1; b < 256; b++ {
		if !slices.Contains(but, byte(b)) {
			every = append(every, byte(b))
		}
	}
	return string(every)
}

// stackLimit sets the resource limit that bounds the arguments of an execve: they
// may take a quarter of it, and 6 MiB.
func stackLimit(t *testing.T, bytes uint64) {
	t.Helper()
	var before unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_STACK, &before); err != nil {
		t.Fatal(err)
	}
	if bytes > before.Max {
		t.Skipf("the stack is limited to %d bytes", before.Max)
	}
	if err := unix.Setrlimit(unix.RLIMIT_STACK, &unix.Rlimit{Cur: bytes, Max: before.Max}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { unix.Setrlimit(unix.RLIMIT_STACK, &before) })
}

// arguments returns some, each less than the 128 KiB that the kernel takes of one,
// for which it counts that many bytes together: with their zeros and pointers.
func arguments(bytes int) (args []string) {
	const most = 126007
	every := everyByte()
	for i := 0; bytes > 0; i++ {
		n := min(bytes, most)
		args = append(args, strings.Repeat(every[i:], n/len(every[i:])+1)[:max(n-9, 0)])
		bytes -= n
	}
	return args
}

// Arguments arrive byte for byte, however many and however long.
func TestArgumentsArriveComplete(t *testing.T) {
	leavesNothing(t)
	root := rootfs(t)
	var single []string
	for b := 1; b < 256; b++ {
		single = append(single, string([]byte{byte(b)}), string([]byte{byte(b), '\n'}), string([]byte{'x', byte(b)}))
	}
	lists := map[string]struct {
		stack uint64
		args  []string
	}{
		"every byte in one":     {8 << 20, []string{everyByte()}},
		"every byte in its own": {8 << 20, single},
		"10000 empty":           {8 << 20, slices.Repeat([]string{""}, 10000)},
		"100000 of one byte":    {8 << 20, slices.Repeat([]string{"x"}, 100000)},
		"the longest":           {8 << 20, []string{strings.Repeat("\xff", 128<<10-1)}},
		"1.9 MB":                {8 << 20, arguments(1900000)},
		"6.2 MB":                {64 << 20, arguments(6200000)},
		"none":                  {8 << 20, nil},
	}
	for name, list := range lists {
		for _, init := range []string{"-init=true", "-init=false"} {
			t.Run(name+init, func(t *testing.T) {
				stackLimit(t, list.stack)
				cmd := exec.Command(containPath, slices.Concat([]string{"-chroot", root, init, "--", "probe", "sum"}, list.args)...)
				cmd.Env = []string{}
				r := startCommand(t, cmd).wait(t)
				if want := sumOf(list.args); r.code() != 0 || r.stdout != want || r.stderr != "" {
					t.Errorf("status %d, sum %q, stderr %.300q; want %q", r.code(), r.stdout, r.stderr, want)
				}
			})
		}
	}
}

// The program's arguments and environment can be too much for the kernel where
// contain's own were not: its HOME may be long.
func TestTooManyArguments(t *testing.T) {
	leavesNothing(t)
	root := rootfs(t)
	if err := os.Mkdir(filepath.Join(root, "etc"), 0o755); err != nil {
		t.Fatal(err)
	}
	home := "/" + strings.Repeat("h", 60000)
	if err := os.WriteFile(filepath.Join(root, "etc", "passwd"), []byte("root:x:0:0::"+home+":/bin/sh\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	const limit = 8 << 20
	stackLimit(t, limit)
	args := func(bytes int) []string {
		words := []string{"/bin/probe", "sum"}
		// What the kernel counts, bprm_stack_limits: strings, pointers and the file's
		// name, but not the empty word that it ends the pointers with.
		env := []string{"PATH=/bin:/usr/bin:/sbin:/usr/sbin", "HOME=" + home, "container=contain"}
		for _, s := range slices.Concat(words, env) {
			bytes -= len(s) + 9
		}
		return arguments(bytes - len(words[0]) - 1)
	}
	for _, init := range []string{"-init=true", "-init=false"} {
		run := func(list []string) result {
			cmd := exec.Command(containPath, slices.Concat([]string{"-chroot", root, init, "--", "/bin/probe", "sum"}, list)...)
			cmd.Env = []string{}
			return startCommand(t, cmd).wait(t)
		}
		fits, beyond := args(limit/4-64), args(limit/4+1024)
		run(fits).want(t, 0, sumOf(fits))
		r := run(beyond)
		r.wantError(t, 126, `program "/bin/probe": argument list too long`)
		if r.stdout != "" {
			t.Errorf("stdout %q", r.stdout)
		}
	}
}

// DIR may have any name that a directory can have.
func TestAnyNameOfTheRoot(t *testing.T) {
	leavesNothing(t)
	base := t.TempDir()
	names := []string{
		everyByte('/'), "new\nline", "\n", " ", `qu"o'te`, `back\slash\n`, "\xff\xfe", "\xc3\x28", "ü", "$(true)`true`",
		"-", "--", "-x", "a:b,c=d", "...", "%s%d", "\x1b[31m", "*?[x]", "#", "\u202e", strings.Repeat("n", 255),
	}
	for i, name := range names {
		if leftOut(i) && i != 6 {
			continue
		}
		dir := filepath.Join(base, name)
		if err := os.MkdirAll(dir+"/bin", 0o755); err != nil {
			t.Fatal(err)
		}
		copyFile(t, probePath, dir+"/bin/probe", 0o755)
		contain(t, "-chroot", dir, "--", "probe", "exit", "42").want(t, 42, "")
		for _, form := range [][]string{{"-chroot", name}, {"-chroot=" + name}, {"chroot", name}} {
			cmd := exec.Command(containPath, append(form, "--", "/bin/probe", "exit", "42")...)
			cmd.Dir = base
			startCommand(t, cmd).wait(t).want(t, 42, "")
		}
	}
}

// DIR may lie as deep as a path reaches, and by a relative path deeper.
func TestADeepRoot(t *testing.T) {
	leavesNothing(t)
	base := t.TempDir()
	deep := base
	for len(deep) < 4000-201 {
		deep += "/" + strings.Repeat("d", 200)
	}
	deep += "/" + strings.Repeat("e", 4000-len(deep)-1)
	if err := os.MkdirAll(deep+"/bin", 0o755); err != nil || len(deep) != 4000 {
		t.Fatal(len(deep), err)
	}
	copyFile(t, probePath, deep+"/bin/probe", 0o755)
	contain(t, "-chroot", deep, "--", "probe", "exit", "42").want(t, 42, "")
	contain(t, "-chroot", deep+strings.Repeat("/", 95), "--", "probe", "exit", "42").want(t, 42, "")
	contain(t, "-chroot", deep+strings.Repeat("/", 96), "--", "probe", "exit", "42").wantError(t, 125, "file name too long")

	script := `mkdir -p root/bin && cp "$0" root/bin/probe && "$@"; echo $?`
	for _, root := range []string{"root", "./root/", "."} {
		start := t.TempDir()
		program := "probe"
		if root == "." {
			program = "root/bin/probe"
		}
		// 200 of them: 40 kB of path
		cmd := exec.Command(probePath, "deep", strings.Repeat("d", 200), "200", "/bin/sh", "-c", script, probePath,
			containPath, "-chroot", root, "--", program, "exit", "42")
		cmd.Dir = start
		startCommand(t, cmd).wait(t).want(t, 0, "42\n")
	}
}
