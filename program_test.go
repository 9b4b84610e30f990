package main

import (
	"bytes"
	"debug/elf"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// exitZero is _exit(0).
var exitZero = map[string]string{
	"amd64": "\xb8\x3c\x00\x00\x00\x31\xff\x0f\x05",
	"arm64": "\xa8\x0b\x80\xd2\x00\x00\x80\xd2\x01\x00\x00\xd4",
}

// buildELF returns a program that runs and exits, with a PT_INTERP if interp
// is not empty.
func buildELF(interp string, change func(*elf.Header64)) string {
	const base = 0x400000
	body := exitZero[runtime.GOARCH] + interp
	headers := make([]elf.Prog64, 1, 2)
	if interp != "" {
		headers = headers[:2]
	}
	start := 64 + elfPhdrSize*uint64(len(headers))
	end := start + uint64(len(body))
	headers[0] = elf.Prog64{
		Type: uint32(elf.PT_LOAD), Flags: uint32(elf.PF_R | elf.PF_X),
		Vaddr: base, Filesz: end, Memsz: end, Align: 4096,
	}
	if interp != "" {
		size := uint64(len(interp))
		headers[1] = elf.Prog64{Type: uint32(elf.PT_INTERP), Off: end - size, Filesz: size}
	}
	h := elf.Header64{
		Type: uint16(elf.ET_EXEC), Machine: elfMachine[runtime.GOARCH], Version: 1,
		Entry: base + start, Phoff: 64, Ehsize: 64, Phentsize: elfPhdrSize, Phnum: uint16(len(headers)),
	}
	copy(h.Ident[:], elf.ELFMAG+"\x02\x01\x01")
	if change != nil {
		change(&h)
	}
	var b bytes.Buffer
	binary.Write(&b, binary.LittleEndian, h) // a Buffer's Write never fails
	binary.Write(&b, binary.LittleEndian, headers)
	return b.String() + body
}

func machine(m elf.Machine) func(*elf.Header64) {
	return func(h *elf.Header64) { h.Machine = uint16(m) }
}

// otherMachine is one that this machine is not.
func otherMachine() elf.Machine {
	if runtime.GOARCH == "arm64" {
		return elf.EM_X86_64
	}
	return elf.EM_AARCH64
}

var (
	program    = file(0o755, buildELF("", nil))
	unreadable = file(0o644, buildELF("", nil)) // by the execute bit only
)

// scripts adds n scripts, 1 to n, each the interpreter of the next and the
// first with interp as its own.
func scripts(n int, interp string) tree {
	tr := tree{"bin/p": program}
	for i := 1; i <= n; i++ {
		name := fmt.Sprintf("s%d", i)
		tr[name] = file(0o755, "#!"+interp+"\n")
		interp = "/" + name
	}
	return tr
}

func TestCheckProgramAccepts(t *testing.T) {
	long := strings.Repeat("x", 4096)
	tests := []struct {
		name    string
		program string
		tree    tree
	}{
		{"absolute path", "/p", tree{"p": program}},
		{"relative path", "./p", tree{"p": program}},
		{"relative path in a directory", "sub/p", tree{"sub/p": program}},
		{"above the root", "../../p", tree{"p": program}},
		{"any one execute bit", "/p", tree{"p": file(0o605, buildELF("", nil))}},
		{"setuid", "/p", tree{"p": file(0o755|os.ModeSetuid, buildELF("", nil))}},
		{"strange name", "/a\nb \x1b", tree{"a\nb \x1b": program}},
		{"position-independent", "/p", tree{"p": file(0o755, buildELF("", func(h *elf.Header64) { h.Type = uint16(elf.ET_DYN) }))}},
		{"in PATH", "p", tree{"usr/sbin/p": program}},
		{"in PATH, with a hyphen", "-p", tree{"bin/-p": program}},
		{"absolute link", "/p", tree{"p": link("/sub/p"), "sub/p": program}},
		{"link upwards", "/p", tree{"p": link("../../../../sub/p"), "sub/p": program}},
		{"link to a directory in PATH", "p", tree{"bin": link("usr/bin"), "usr/bin/p": program}},
		{"dynamic", "/p", tree{"p": file(0o755, buildELF("/lib/ld.so\x00", nil)), "lib/ld.so": program}},
		{"dynamic, loader behind a link", "/p", tree{"p": file(0o755, buildELF("/lib64/ld.so\x00", nil)), "lib64": link("/lib"), "lib/ld.so": program}},
		{"dynamic, relative loader", "/sub/p", tree{"sub/p": file(0o755, buildELF("lib/ld.so\x00", nil)), "lib/ld.so": program}},
		{"script", "/s", tree{"s": file(0o755, "#!/bin/p\n"), "bin/p": program}},
		{"script, end of file for newline", "/s", tree{"s": file(0o755, "#!/bin/p"), "bin/p": program}},
		{"script with an argument", "/s", tree{"s": file(0o755, "#! \t/bin/p\t-x y\nabc"), "bin/p": program}},
		{"script with spaces at the end", "/s", tree{"s": file(0o755, "#!/bin/p  \n"), "bin/p": program}},
		{"script with a long argument", "/s", tree{"s": file(0o755, "#!/bin/p "+long+"\n"), "bin/p": program}},
		{"script, relative interpreter", "/sub/s", tree{"sub/s": file(0o755, "#!bin/p\n"), "bin/p": program}},
		{"script, interpreter above the root", "/s", tree{"s": file(0o755, "#!/../../bin/p\n"), "bin/p": program}},
		{"five scripts", "/s5", scripts(5, "/bin/p")},

		// What is in DIR's own directories of these names is not what the
		// program will see there.
		{"/proc", "/proc/self/exe", nil},
		{"/dev", "/dev/shm/p", nil},
		{"/sys", "/sys/p", nil},
		{"proc, relative", "proc/p", nil},
		{"proc above the root", "../proc/p", nil},
		{"proc behind dots", "/x/.././//proc/p", nil},
		{"script, interpreter in /proc", "/s", tree{"s": file(0o755, "#!/proc/self/exe\n")}},
		{"dynamic, loader in /dev", "/p", tree{"p": file(0o755, buildELF("/dev/ld.so\x00", nil))}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			if err := checkProgram(usual(newRoot(t, test.tree)), test.program); err != nil {
				t.Errorf("checkProgram(%q): %v", test.program, err)
			}
		})
	}
}

func TestCheckProgramRefuses(t *testing.T) {
	const inPath = "/bin:/usr/bin:/sbin:/usr/sbin"
	long := strings.Repeat("x", 300)
	tests := []struct {
		name    string
		program string
		tree    tree
		code    int
		want    string
	}{
		{"empty DIR", "sh", nil, 127, `program "sh": not found in ` + inPath},
		{"no such file", "/p", nil, 127, `program "/p": no such file or directory`},
		{"no such directory", "/sub/p", nil, 127, `program "/sub/p": no such file or directory`},
		{"below a file", "/p/x", tree{"p": program}, 127, `program "/p/x": not a directory`},
		{"file with a slash at the end", "/p/", tree{"p": program}, 127, `program "/p/": not a directory`},
		{"empty name", "", tree{"bin/p": program}, 127, `program "": not found in ` + inPath},
		{"flag-like name", "-x", nil, 127, `program "-x": not found in ` + inPath},
		{"strange name", "/a\nb\x1b", nil, 127, `program "/a\nb\x1b": no such file or directory`},
		{"not in PATH but in /", "p", tree{"p": program, "usr/local/bin/p": program}, 127, `program "p": not found in ` + inPath},
		{"name too long", "/" + long, nil, 126, `program "/` + long[:199] + `"...: file name too long`},
		{"name too long, in PATH", long, tree{"bin": directory()}, 126, `program "/bin/` + long[:195] + `"...: file name too long`},
		{"links in a circle", "/p", tree{"p": link("p")}, 126, `program "/p": too many levels of symbolic links`},
		{"dangling link", "/p", tree{"p": link("nowhere")}, 127, `program "/p": is a symbolic link to "nowhere", which is not in DIR`},
		{"link out of DIR", "/p", tree{"p": link("../canary")}, 127, `program "/p": is a symbolic link to "../canary", which is not in DIR`},
		{"out of DIR", "../canary", nil, 127, `program "../canary": no such file or directory`},
		{"links in PATH, out of DIR", "canary", tree{"bin": link("../.."), "usr": link("/..")}, 127, `program "canary": not found in ` + inPath},

		{"no execute bit", "/p", tree{"p": unreadable}, 126, `program "/p": permission denied (no execute bit is set)`},
		{"directory", "/sub", tree{"sub": directory()}, 126, `program "/sub": is a directory`},
		{"root directory", "/", nil, 126, `program "/": is a directory`},
		{"link to a directory", "/p", tree{"p": link("sub"), "sub": directory()}, 126, `program "/p": is a directory`},

		{"missing interpreter", "/s", tree{"s": file(0o755, "#!/bin/p -x\n")}, 127, `interpreter "/bin/p" of program "/s": no such file or directory`},
		{"missing interpreter, program in PATH", "s", tree{"usr/bin/s": file(0o755, "#!/bin/p\n")}, 127, `interpreter "/bin/p" of program "/usr/bin/s": no such file or directory`},
		{"interpreter is looked up in DIR, not in PATH", "/s", tree{"s": file(0o755, "#!p\n"), "bin/p": program}, 127, `interpreter "p" of program "/s": no such file or directory`},
		{"line ends of DOS", "/s", tree{"s": file(0o755, "#!/bin/p\r\nx\r\n"), "bin/p": program}, 127, `interpreter "/bin/p\r" of program "/s": no such file or directory`},
		{"interpreter below a file", "/s", tree{"s": file(0o755, "#!/bin/p/x\n"), "bin/p": program}, 127, `interpreter "/bin/p/x" of program "/s": not a directory`},
		{"interpreter out of DIR", "/s", tree{"s": file(0o755, "#!/../canary\n")}, 127, `interpreter "/../canary" of program "/s": no such file or directory`},
		{"interpreter without execute bit", "/s", tree{"s": file(0o755, "#!/bin/p\n"), "bin/p": unreadable}, 126, `interpreter "/bin/p" of program "/s": permission denied (no execute bit is set)`},
		{"interpreter is a directory", "/s", tree{"s": file(0o755, "#!/bin\n"), "bin": directory()}, 126, `interpreter "/bin" of program "/s": is a directory`},
		{"interpreter's interpreter is missing", "/s2", scripts(2, "/nowhere"), 127, `interpreter "/nowhere" of program "/s1": no such file or directory`},
		{"six scripts", "/s6", scripts(6, "/bin/p"), 126, `program "/s1": too many levels of #! interpreters`},
		{"script is its own interpreter", "/s", tree{"s": file(0o755, "#!/s\n")}, 126, `program "/s": too many levels of #! interpreters`},
		{"nothing but #!", "/s", tree{"s": file(0o755, "#!")}, 126, `program "/s": exec format error (its #! line names no interpreter)`},
		{"spaces after #!", "/s", tree{"s": file(0o755, "#! \t \n/bin/p\n"), "bin/p": program}, 126, `program "/s": exec format error (its #! line names no interpreter)`},

		{"missing loader", "/p", tree{"p": file(0o755, buildELF("/lib64/ld-linux-x86-64.so.2\x00", nil))}, 127, `loader "/lib64/ld-linux-x86-64.so.2" of program "/p": no such file or directory`},
		{"missing loader of a program in PATH", "p", tree{"bin/p": file(0o755, buildELF("/ld.so\x00", nil))}, 127, `loader "/ld.so" of program "/bin/p": no such file or directory`},
		{"missing loader of an interpreter", "/s", tree{"s": file(0o755, "#!/bin/p\n"), "bin/p": file(0o755, buildELF("/ld.so\x00", nil))}, 127, `loader "/ld.so" of program "/bin/p": no such file or directory`},
		{"loader out of DIR", "/p", tree{"p": file(0o755, buildELF("/ld.so\x00", nil)), "ld.so": link("../canary")}, 127, `loader "/ld.so" of program "/p": is a symbolic link to "../canary", which is not in DIR`},
		{"loader without execute bit", "/p", tree{"p": file(0o755, buildELF("/ld.so\x00", nil)), "ld.so": unreadable}, 126, `loader "/ld.so" of program "/p": permission denied (no execute bit is set)`},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			wantRefusal(t, newRoot(t, test.tree), test.program, test.code, test.want)
		})
	}
}

func wantRefusal(t *testing.T, root *rootfs, program string, code int, want string) {
	t.Helper()
	err := checkProgram(usual(root), program)
	if text(err) != want || statusOf(err).code != code {
		t.Errorf("checkProgram(%s): %d, %v\nwant %d, %s", quoted(program), statusOf(err).code, err, code, want)
	}
}

// Files that no format of the kernel's own fits. Where binfmt_misc handlers are
// registered these are not contain's to refuse.
func TestCheckProgramFormat(t *testing.T) {
	header := func(change func(*elf.Header64)) string { return buildELF("", change) }
	tests := []struct{ name, data, want string }{
		{"empty", "", "the file is empty"},
		{"one byte", "#", "neither ELF nor a script with #!"},
		{"garbage", "\x00\x01\x02garbage", "neither ELF nor a script with #!"},
		{"shell script without #!", "echo hello\n", "neither ELF nor a script with #!"},
		{"space before #!", " #!/bin/sh\n", "neither ELF nor a script with #!"},
		{"byte order mark before #!", "\ufeff#!/bin/sh\n", "neither ELF nor a script with #!"},
		{"Windows program", "MZ\x90\x00", "neither ELF nor a script with #!"},
		{"other machine", header(machine(otherMachine())), "built for another machine than " + runtime.GOARCH},
		{"other machine, s390x", header(machine(elf.EM_S390)), "built for another machine than " + runtime.GOARCH},
		{"other byte order", header(func(h *elf.Header64) { h.Ident[elf.EI_DATA] = 2; h.Machine <<= 8 }), "built for another machine than " + runtime.GOARCH},
		{"ELF magic only", "\x7fELF", "the file is cut short"},
		{"cut in the ELF header", header(nil)[:40], "the file is cut short"},
		{"cut after the ELF header", header(nil)[:64], "bad program headers"},
		{"cut in the program headers", header(nil)[:100], "bad program headers"},
		{"no program headers", header(func(h *elf.Header64) { h.Phnum = 0 }), "bad program headers"},
		{"too many program headers", header(func(h *elf.Header64) { h.Phnum = elfMaxPhdrs + 1 }) + strings.Repeat("\x00", 1<<17), "bad program headers"},
		{"program headers of another size", header(func(h *elf.Header64) { h.Phentsize = 32 }), "bad program headers"},
		{"program headers beyond the end", header(func(h *elf.Header64) { h.Phoff = 1 << 40 }), "bad program headers"},
		{"program headers before the beginning", header(func(h *elf.Header64) { h.Phoff = 1 << 63 }), "bad program headers"},
		{"loader name of one byte", buildELF("\x00", nil), "bad program headers"},
		{"loader name too long", buildELF(strings.Repeat("/", elfMaxInterp)+"\x00", nil), "bad program headers"},
		{"loader name beyond the end", strings.TrimSuffix(buildELF("/ld.so\x00", nil), "so\x00"), "bad program headers"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			root := newRoot(t, tree{"p": file(0o755, test.data)})
			if otherFormats() {
				if err := checkProgram(usual(root), "/p"); err != nil {
					t.Errorf("checkProgram: %v, though binfmt_misc may know the format", err)
				}
				return
			}
			wantRefusal(t, root, "/p", 126, `program "/p": exec format error (`+test.want+`)`)
		})
	}
}

// The filter would kill it: better to say so.
func TestCheckProgramI386(t *testing.T) {
	if runtime.GOARCH != "amd64" {
		t.Skip("i386 programs are for amd64 kernels")
	}
	root := newRoot(t, tree{"p": file(0o755, buildELF("", func(h *elf.Header64) {
		h.Ident[elf.EI_CLASS], h.Machine = 1, uint16(elf.EM_386)
	}))})
	wantRefusal(t, root, "/p", 126, `program "/p": is a 32-bit program, which the system call filter does not allow: -allow-32bit does`)
}

func TestCheckProgramSearch(t *testing.T) {
	const denied = "permission denied (no execute bit is set)"
	tests := []struct {
		name string
		tree tree
		file string // found
		want string // or else the error
	}{
		{"first directory", tree{"bin/p": program, "usr/bin/p": program}, "/bin/p", ""},
		{"second directory", tree{"usr/bin/p": program, "sbin/p": program}, "/usr/bin/p", ""},
		{"third directory", tree{"sbin/p": program, "usr/sbin/p": program}, "/sbin/p", ""},
		{"last directory", tree{"usr/sbin/p": program}, "/usr/sbin/p", ""},
		{"a directory is passed over", tree{"bin/p": directory(), "sbin/p": program}, "/sbin/p", ""},
		{"a file without execute bit is passed over", tree{"bin/p": unreadable, "sbin/p": program}, "/sbin/p", ""},
		{"a dangling link is passed over", tree{"bin/p": link("nowhere"), "sbin/p": program}, "/sbin/p", ""},
		{"a circle of links is passed over", tree{"bin/p": link("p"), "sbin/p": program}, "/sbin/p", ""},
		{"a file for directory is passed over", tree{"bin": program, "sbin/p": program}, "/sbin/p", ""},
		{"a program that will not run ends the search", tree{"bin/p": file(0o755, "garbage"), "sbin/p": program}, "/bin/p", ""},
		{"only without execute bit", tree{"sbin/p": unreadable}, "", `program "/sbin/p": ` + denied},
		{"only not executable, the first is named", tree{"bin/p": directory(), "sbin/p": unreadable}, "", `program "/bin/p": is a directory`},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			root := newRoot(t, test.tree)
			f, found, err := findProgram(usual(root), "p")
			if found != test.file || text(err) != test.want {
				t.Errorf("findProgram = %q, %v; want %q, %s", found, err, test.file, test.want)
			}
			if err != nil && statusOf(err).code != 126 {
				t.Errorf("code %d, want 126", statusOf(err).code)
			}
			if f != nil {
				f.Close()
			}
		})
	}
}

// Opening a FIFO to read waits for a writer, which a rootfs could make forever.
func TestCheckProgramFIFO(t *testing.T) {
	root := newRoot(t, tree{
		"p":      fifo(),
		"s":      file(0o755, "#!/p\n"),
		"d":      file(0o755, buildELF("/p\x00", nil)),
		"bin/in": fifo(),
	})
	for program, want := range map[string]string{
		"/p": `program "/p": is not a regular file`,
		"/s": `interpreter "/p" of program "/s": is not a regular file`,
		"/d": `loader "/p" of program "/d": is not a regular file`,
		"in": `program "/bin/in": is not a regular file`,
	} {
		done := make(chan struct{})
		go func() {
			defer close(done)
			wantRefusal(t, root, program, 126, want)
		}()
		select {
		case <-done:
		case <-time.After(10 * time.Second):
			t.Fatalf("checkProgram(%q) blocks", program)
		}
	}
}

func TestCheckProgramOtherFiles(t *testing.T) {
	root := newRoot(t, nil)
	socket, err := unix.Socket(unix.AF_UNIX, unix.SOCK_STREAM, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(socket)
	t.Chdir(root.dir.Name()) // socket addresses are short
	if err := unix.Bind(socket, &unix.SockaddrUnix{Name: "socket"}); err != nil {
		t.Fatal(err)
	}
	wantRefusal(t, root, "/socket", 126, `program "/socket": is not a regular file`)
}

// The oracle is execve(2) itself, with the host's / for root: the same files
// must be found missing, and none refused that would start. What execve alone
// refuses is 126 without checkProgram's help.
func TestCheckProgramAgreesWithKernel(t *testing.T) {
	slash, err := os.Open("/")
	if err != nil {
		t.Fatal(err)
	}
	root := &rootfs{dir: slash}
	defer root.close()
	dir := t.TempDir()
	if mountedOver(dir) {
		t.Skipf("checkProgram leaves files in %s to the start", dir)
	}
	files := kernelFiles(dir)
	files.make(t, dir)
	for name := range files {
		t.Run(name, func(t *testing.T) {
			path := filepath.Join(dir, name)
			got := checkProgram(usual(root), path)
			want := execute(t, path)
			code := kernelCode(want)
			if leftToExec := got == nil && code == exitCannotExec; leftToExec {
				return
			}
			if statusOf(got).code != code {
				t.Errorf("%d, %v\nwant %d, as the kernel says: %v", statusOf(got).code, got, code, want)
			}
		})
	}
}

// execute returns execve's error for path.
func execute(t *testing.T, path string) error {
	t.Helper()
	pid, err := syscall.ForkExec(path, []string{path}, &syscall.ProcAttr{Dir: filepath.Dir(path)})
	if err != nil {
		return err
	}
	syscall.Kill(pid, syscall.SIGKILL)
	if _, err := syscall.Wait4(pid, nil, 0, nil); err != nil {
		t.Error(err)
	}
	return nil
}

// kernelCode is how a shell maps execve's errors.
func kernelCode(err error) int {
	switch {
	case err == nil:
		return 0
	case errors.Is(err, syscall.ENOENT), errors.Is(err, syscall.ENOTDIR):
		return exitNotFound
	}
	return exitCannotExec
}

func kernelFiles(dir string) tree {
	at := func(name string) string { return filepath.Join(dir, name) }
	// padded names a file with a path of n bytes.
	padded := func(n int, name string) string { return strings.Repeat("/", n-len(at(name))) + at(name) }
	script := func(line string) entry { return file(0o755, "#!"+line) }
	dynamic := func(interp string) entry { return file(0o755, buildELF(interp, nil)) }
	typed := func(typ elf.Type) entry {
		return file(0o755, buildELF("", func(h *elf.Header64) { h.Type = uint16(typ) }))
	}
	tr := tree{
		"p":          program,
		"unreadable": unreadable,
		"directory":  directory(),
		"fifo":       fifo(),
		"link":       link("p"),
		"dangling":   link("nowhere"),
		"circle":     link("circle"),
		"empty":      file(0o755, ""),
		"garbage":    file(0o755, strings.Repeat("garbage ", 100)),
		"magic":      file(0o755, elf.ELFMAG),
		"cut":        file(0o755, buildELF("", nil)[:100]),
		"machine":    file(0o755, buildELF("", machine(otherMachine()))),
		"pie":        typed(elf.ET_DYN),
		"object":     typed(elf.ET_REL),
		"core":       typed(elf.ET_CORE),

		"script":                   script(at("p") + "\n"),
		"script-no-newline":        script(at("p")),
		"script-spaces":            script(" \t" + at("p") + " \t\n"),
		"script-argument":          script(at("p") + " x\n"),
		"script-long-argument":     script(at("p") + " " + strings.Repeat("x", 400) + "\n"),
		"script-dos":               script(at("p") + "\r\n"),
		"script-nul":               script(at("p") + "\x00x\n"),
		"script-nothing":           script("\n"),
		"script-only-spaces":       script("  \n"),
		"script-of-directory":      script(dir + "\n"),
		"script-of-nowhere":        script(at("nowhere") + "\n"),
		"script-of-garbage":        script(at("garbage") + "\n"),
		"script-of-unreadable":     script(at("unreadable") + "\n"),
		"script-name-fits":         script(padded(253, "p") + "\n"),
		"script-name-cut":          script(padded(254, "p") + "\n"),
		"script-name-far-too-long": script(padded(400, "p") + "\n"),
		"script-long-name-nowhere": script(strings.Repeat("/x", 200) + "\n"),

		"loader-good":       dynamic(at("p") + "\x00"),
		"loader-nowhere":    dynamic(at("nowhere") + "\x00"),
		"loader-unreadable": dynamic(at("unreadable") + "\x00"),
		"loader-directory":  dynamic(dir + "\x00"),
		"loader-garbage":    dynamic(at("garbage") + "\x00"),
		"loader-script":     dynamic(at("script") + "\x00"),
		"loader-cut":        dynamic(at("magic") + "\x00"),
		"loader-machine":    dynamic(at("machine") + "\x00"),
		"loader-no-nul":     dynamic(at("p")),
		"loader-nul-inside": dynamic(at("p") + "\x00x\x00"),
		"loader-nul-only":   dynamic("\x00\x00"),
	}
	for i, interp := 1, at("p"); i <= 7; i++ {
		name := fmt.Sprintf("chain-%d", i)
		tr[name] = script(interp + "\n")
		interp = at(name)
	}
	return tr
}

// usual is where programs are looked for unless told otherwise.
func usual(root *rootfs) programs { return programs{rootfs: root, path: searchPath} }
