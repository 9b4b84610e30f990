package main

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"flag"
	"fmt"
	"math"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"strings"
	"testing"

	"github.com/moby/profiles/seccomp"
	"github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"
)

var update = flag.Bool("update", false, "write the generated files instead of comparing them")

// golden compares a generated file with what is to be in it.
func golden(t *testing.T, name string, want []byte) {
	t.Helper()
	if *update {
		if err := os.WriteFile(name, want, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if got, err := os.ReadFile(name); err != nil || !bytes.Equal(got, want) {
		t.Errorf("%s is not what is generated (%v): go generate", name, err)
	}
}

// The generated files are those of the modules that go.mod names.
func TestCompiledProfile(t *testing.T) {
	golden(t, "syscalls.tsv", generateSyscallTable(t))
	text, err := os.ReadFile("syscalls.tsv")
	if err != nil {
		t.Fatal(err)
	}
	syscallTable = string(text)
	for arch, p := range map[string]platform{"amd64": {1, unix.AUDIT_ARCH_X86_64}, "arm64": {3, unix.AUDIT_ARCH_AARCH64}} {
		rules, err := resolve(dockerProfile(t, arch), p)
		if err != nil {
			t.Fatal(err)
		}
		golden(t, "seccomp_"+arch+".bpf", encodeFilter(rules.compile()))
	}
}

// dockerProfile returns the profile for the default capabilities on an architecture,
// which the module itself can only for the one that it runs on.
func dockerProfile(t *testing.T, arch string) *specs.LinuxSeccomp {
	t.Helper()
	has := func(list, of []string) bool {
		return slices.ContainsFunc(list, func(s string) bool { return slices.Contains(of, s) })
	}
	docker := seccomp.DefaultProfile()
	p := docker.LinuxSeccomp
	for _, call := range docker.Syscalls {
		in, ex := call.Includes, call.Excludes
		if ex != nil && (has(ex.Arches, []string{arch}) || has(ex.Caps, defaultCaps())) {
			continue
		}
		if in != nil && (len(in.Arches) > 0 && !has(in.Arches, []string{arch}) ||
			slices.ContainsFunc(in.Caps, func(c string) bool { return !slices.Contains(defaultCaps(), c) })) {
			continue
		}
		p.Syscalls = append(p.Syscalls, call.LinuxSyscall)
	}
	return &p
}

// generateSyscallTable reads the numbers from golang.org/x/sys, which has them from the
// kernel's headers.
func generateSyscallTable(t *testing.T) []byte {
	t.Helper()
	dir, err := exec.Command("go", "list", "-m", "-f", "{{.Dir}}", "golang.org/x/sys").Output()
	if err != nil {
		t.Skip("no go command here: ", err)
	}
	table := map[string][4]string{ // private ones of ARM, arch/arm/include/uapi/asm/unistd.h
		"breakpoint": {"-", "-", "-", "983041"}, "cacheflush": {"-", "-", "-", "983042"}, "set_tls": {"-", "-", "-", "983045"},
		"sync_file_range2": {"-", "-", "-", "341"},
	}
	for column, arch := range []string{"amd64", "386", "arm64", "arm"} {
		text, err := os.ReadFile(filepath.Join(strings.TrimSpace(string(dir)), "unix", "zsysnum_linux_"+arch+".go"))
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range regexp.MustCompile(`(?m)^\s+SYS_(\w+)\s+= (\d+)$`).FindAllStringSubmatch(string(text), -1) {
			name := strings.ToLower(m[1])
			row, ok := table[name]
			if !ok {
				row = [4]string{"-", "-", "-", "-"}
			}
			row[column] = m[2]
			table[name] = row
		}
	}
	var lines []string
	for name, row := range table {
		lines = append(lines, name+"\t"+strings.Join(row[:], "\t")+"\n")
	}
	slices.Sort(lines)
	return []byte(strings.Join(lines, ""))
}

// sysCall is what a filter sees of a system call.
type sysCall struct {
	number, arch uint32
	_            uint64 // instruction_pointer
	args         [6]uint64
}

// judge runs a filter as the kernel does (net/core/filter.c), and ends the test if it
// is one that the kernel would not take.
func judge(t testing.TB, f []unix.SockFilter, c sysCall) uint32 {
	t.Helper()
	var data bytes.Buffer
	binary.Write(&data, binary.LittleEndian, c)
	a := uint32(0)
	for pc := 0; pc < len(f); pc++ {
		in := f[pc]
		yes := false
		switch in.Code & 0xf7 {
		case unix.BPF_LD | unix.BPF_ABS:
			a = binary.LittleEndian.Uint32(data.Bytes()[in.K:])
			continue
		case unix.BPF_RET:
			return in.K
		case unix.BPF_ALU | unix.BPF_AND:
			a &= in.K
			continue
		case unix.BPF_JMP | unix.BPF_JA:
			pc += int(in.K)
			continue
		case unix.BPF_JMP | unix.BPF_JEQ:
			yes = a == in.K
		case unix.BPF_JMP | unix.BPF_JGT:
			yes = a > in.K
		case unix.BPF_JMP | unix.BPF_JGE:
			yes = a >= in.K
		case unix.BPF_JMP | unix.BPF_JSET:
			yes = a&in.K != 0
		default:
			t.Fatalf("instruction %d is %+v", pc, in)
		}
		if yes {
			pc += int(in.Jt)
		} else {
			pc += int(in.Jf)
		}
	}
	t.Fatalf("the filter ends without an answer to %+v", c)
	return 0
}

func filterOf(t testing.TB, o filterOptions, direct bool, caps ...string) []unix.SockFilter {
	t.Helper()
	f, err := o.syscallFilter(append(defaultCaps(), caps...), direct)
	if err != nil {
		t.Fatal(err)
	}
	return f
}

// The kernel takes the filters: short enough, and every jump lands in them.
func TestSyscallFilterIsWellFormed(t *testing.T) {
	for _, o := range []filterOptions{{}, {compat: true}} {
		f := filterOf(t, o, false, "CAP_SYS_ADMIN")
		if len(f) > unix.BPF_MAXINSNS {
			t.Errorf("%+v: %d instructions", o, len(f))
		}
		t.Logf("%+v: %d instructions", o, len(f))
		for i, in := range f {
			skips := []int{int(in.Jt), int(in.Jf)}
			if in.Code == unix.BPF_JMP|unix.BPF_JA {
				skips = []int{int(in.K)}
			}
			for _, skip := range skips {
				if in.Code&7 == unix.BPF_JMP && i+1+skip >= len(f) {
					t.Errorf("%+v: instruction %d jumps to %d of %d", o, i, i+1+skip, len(f))
				}
			}
		}
	}
	if f := filterOf(t, filterOptions{profile: "none"}, false); f != nil {
		t.Errorf("-seccomp none: %d instructions", len(f))
	}
}

// What the program can do by default, and what each flag changes.
func TestSyscallFilter(t *testing.T) {
	const (
		allow  = unix.SECCOMP_RET_ALLOW
		kill   = unix.SECCOMP_RET_KILL_PROCESS
		errno  = unix.SECCOMP_RET_ERRNO
		eperm  = errno | uint32(unix.EPERM)
		enosys = errno | uint32(unix.ENOSYS)
		family = errno | uint32(unix.EAFNOSUPPORT)
	)
	native, compat := nativePlatform, compatPlatform
	tests := []struct {
		call                 string
		args                 [6]uint64
		plain, admin, direct uint32
	}{
		{"read", [6]uint64{}, allow, allow, allow},
		{"execve", [6]uint64{}, allow, allow, allow},
		{"mount", [6]uint64{}, eperm, allow, eperm},
		{"unshare", [6]uint64{unix.CLONE_NEWUSER}, eperm, allow, eperm},
		{"clone", [6]uint64{uint64(unix.SIGCHLD)}, allow, allow, allow},
		{"clone", [6]uint64{unix.CLONE_NEWUSER | uint64(unix.SIGCHLD)}, eperm, allow, eperm},
		{"clone", [6]uint64{unix.CLONE_NEWUSER | 1<<40}, eperm, allow, eperm},
		{"clone3", [6]uint64{}, enosys, allow, enosys},
		{"keyctl", [6]uint64{}, eperm, eperm, eperm},
		{"ioprio_set", [6]uint64{1, 1}, eperm, eperm, allow},
		{"ioprio_set", [6]uint64{1, 2}, allow, allow, allow},
		{"ioprio_set", [6]uint64{2, 0}, eperm, eperm, allow},
		{"ioprio_set", [6]uint64{3, 0}, eperm, eperm, allow},
		{"pidfd_send_signal", [6]uint64{3, 15}, allow, allow, allow},
		{"pidfd_send_signal", [6]uint64{3, 15, 4096}, eperm, eperm, eperm},
		{"socketpair", [6]uint64{unix.AF_UNIX}, allow, allow, allow},
		{"socketpair", [6]uint64{unix.AF_INET}, family, family, family},
		{"io_uring_setup", [6]uint64{}, eperm, eperm, eperm},
		{"personality", [6]uint64{0}, allow, allow, allow},
		{"personality", [6]uint64{8}, allow, allow, allow},
		{"personality", [6]uint64{0x40000}, eperm, eperm, eperm},
		{"socket", [6]uint64{unix.AF_INET, unix.SOCK_STREAM}, allow, allow, allow},
		{"socket", [6]uint64{unix.AF_INET, 10}, family, family, family},
		{"socket", [6]uint64{unix.AF_ALG}, family, family, family},
		{"socket", [6]uint64{1<<32 | unix.AF_ALG}, family, family, family}, // the kernel reads an int
		{"socket", [6]uint64{unix.AF_NETLINK, 3, unix.NETLINK_ROUTE}, allow, allow, allow},
		{"prlimit64", [6]uint64{0, unix.RLIMIT_CORE, 1}, errno, errno, errno},
		{"prlimit64", [6]uint64{0, unix.RLIMIT_CORE, 0}, allow, allow, allow},
		{"prlimit64", [6]uint64{1, unix.RLIMIT_NOFILE, 1}, eperm, eperm, allow},
		{"ptrace", [6]uint64{unix.PTRACE_SETOPTIONS, 0, 0, unix.PTRACE_O_TRACEEXIT}, eperm, eperm, eperm},
	}
	plain, admin := filterOf(t, filterOptions{}, false), filterOf(t, filterOptions{}, false, "CAP_SYS_ADMIN")
	direct, both := filterOf(t, filterOptions{}, true), filterOf(t, filterOptions{compat: true}, false)
	for _, test := range tests {
		c := sysCall{number: native.numbers()[test.call], arch: native.audit, args: test.args}
		got := [...]uint32{judge(t, plain, c), judge(t, both, c), judge(t, admin, c), judge(t, direct, c)}
		if want := [...]uint32{test.plain, test.plain, test.admin, test.direct}; got != want {
			t.Errorf("%s%d: %x, want %x", test.call, test.args, got, want)
		}
		c = sysCall{number: compat.numbers()[test.call], arch: compat.audit, args: test.args}
		if got := judge(t, both, c); got != test.plain && test.args[0]>>32 == 0 {
			t.Errorf("32-bit %s%d: %x, want %x", test.call, test.args, got, test.plain)
		}
		if got := judge(t, plain, c); got != kill {
			t.Errorf("32-bit %s%d without -allow-32bit: %x", test.call, test.args, got)
		}
	}
	x32 := map[string]uint32{"amd64": kill, "arm64": enosys}[runtime.GOARCH]
	for number, want := range map[uint32]uint32{math.MaxUint32: allow, 2000: enosys, 0x40000001: x32} {
		if got := judge(t, plain, sysCall{number: number, arch: native.audit}); got != want {
			t.Errorf("number %d: %x, want %x", number, got, want)
		}
	}
}

// A compiled profile answers each system call as its rules do, one by one.
func TestCompileAgreesWithRules(t *testing.T) {
	ops := []specs.LinuxSeccompOperator{specs.OpEqualTo, specs.OpNotEqual, specs.OpGreaterThan, specs.OpGreaterEqual, specs.OpLessThan, specs.OpLessEqual, specs.OpMaskedEqual}
	value := func() uint64 {
		return []uint64{0, 1, 2, math.MaxUint32, math.MaxUint32 + 1, math.MaxUint32 + 2, math.MaxUint64, 3<<32 | 5, 5}[rand.IntN(9)]
	}
	for range 200 {
		set := ruleSet{calls: map[uint32][]rule{}, fallback: 1, newest: 300, beyond: 2}
		for range rand.IntN(200) {
			r := rule{action: uint32(3 + rand.IntN(3))}
			for range rand.IntN(3) {
				r.conditions = append(r.conditions, specs.LinuxSeccompArg{Index: uint(rand.IntN(6)), Op: ops[rand.IntN(7)], Value: value(), ValueTwo: value()})
			}
			n := uint32(rand.IntN(300))
			set.calls[n] = append(set.calls[n], r)
		}
		f := set.compile()
		for range 2000 {
			c := sysCall{number: uint32(rand.IntN(310))}
			for i := range c.args {
				c.args[i] = value()
			}
			if got, want := judge(t, f, c), set.answer(c); got != want {
				t.Fatalf("%+v: %d, want %d, by %+v", c, got, want, set.calls[c.number])
			}
		}
	}
}

// answer is what the documentation of compile says.
func (s ruleSet) answer(c sysCall) uint32 {
	if c.number > s.newest {
		return s.beyond
	}
	for _, conditional := range []bool{true, false} {
		for _, r := range s.calls[c.number] {
			if len(r.conditions) > 0 == conditional && !slices.ContainsFunc(r.conditions, func(x specs.LinuxSeccompArg) bool { return !true64(x, c.args[x.Index]) }) {
				return r.action
			}
		}
	}
	return s.fallback
}

func true64(c specs.LinuxSeccompArg, v uint64) bool {
	return map[specs.LinuxSeccompOperator]bool{
		specs.OpEqualTo: v == c.Value, specs.OpNotEqual: v != c.Value, specs.OpGreaterThan: v > c.Value, specs.OpGreaterEqual: v >= c.Value,
		specs.OpLessThan: v < c.Value, specs.OpLessEqual: v <= c.Value, specs.OpMaskedEqual: v&c.Value == c.ValueTwo,
	}[c.Op]
}

func TestSeccompFile(t *testing.T) {
	file := filepath.Join(t.TempDir(), "p.json")
	const needed = `{"names":["read","write","rt_sigaction","rt_sigprocmask","execve","exit_group"],"action":"SCMP_ACT_ALLOW"}`
	read := func(text string) ([]unix.SockFilter, string) {
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		f, err := filterOptions{profile: file}.syscallFilter(defaultCaps(), false)
		if err != nil {
			return nil, strings.ReplaceAll(err.Error(), file, "FILE")
		}
		return f, ""
	}
	for text, want := range map[string]string{
		`{`:                                   `not a seccomp profile: Decoding seccomp profile failed: unexpected end of JSON input`,
		``:                                    `not a seccomp profile: Decoding seccomp profile failed: unexpected end of JSON input`,
		`{}`:                                  `not a seccomp profile: has no rules; none is without a filter`,
		`{"defaultAction":"SCMP_ACT_MAYBE"}`:  `unknown action "SCMP_ACT_MAYBE"`,
		`{"defaultAction":"SCMP_ACT_NOTIFY"}`: `unknown action "SCMP_ACT_NOTIFY"`,
		`{"defaultAction":"SCMP_ACT_ALLOW","syscalls":[{"names":["read"],"action":"SCMP_ACT_ERRNO","errnoRet":99999}]}`:                        `errnoRet 99999 is no error number`,
		`{"defaultAction":"SCMP_ACT_ALLOW","syscalls":[{"names":["read"],"action":"SCMP_ACT_ERRNO","args":[{"index":6,"op":"SCMP_CMP_EQ"}]}]}`: `read has no argument 6`,
		`{"defaultAction":"SCMP_ACT_ALLOW","syscalls":[{"names":["getpid"],"action":"SCMP_ACT_ERRNO","args":[{"index":1,"op":"LIKE"}]}]}`:      `unknown comparison "LIKE"`,
		`{"defaultAction":"SCMP_ACT_ALLOW","flags":["SECCOMP_FILTER_FLAG_LOG"]}`:                                                               `flags and listeners are not supported`,
		`{"defaultAction":"SCMP_ACT_ERRNO"}`:                             `forbids execve, which contain itself needs to start the program`,
		`{"defaultAction":"SCMP_ACT_ERRNO","syscalls":[` + needed + `]}`: ``,
	} {
		if _, got := read(text); got != want && got != `-seccomp "FILE": `+want {
			t.Errorf("%s: %s\nwant %s", text, got, want)
		}
	}
	if err := os.WriteFile(file, []byte(`{"defaultAction":"SCMP_ACT_ERRNO","syscalls":[`+needed+`]}`), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := (filterOptions{profile: file, capset: true}).syscallFilter(defaultCaps(), false); !strings.Contains(text(err), "forbids capset") {
		t.Errorf("without capset: %v", err)
	}
	f, got := read(`{"defaultAction":"SCMP_ACT_ALLOW","syscalls":[{"names":["getpid","no_such_call"],"action":"SCMP_ACT_ERRNO","errnoRet":38},
		{"names":["kill"],"action":"SCMP_ACT_KILL_PROCESS","args":[{"index":1,"value":9,"op":"SCMP_CMP_EQ"},{"index":1,"value":15,"op":"SCMP_CMP_EQ"}]}]}`)
	if got != "" {
		t.Fatal(got)
	}
	numbers := nativePlatform.numbers()
	for _, test := range []struct {
		call string
		arg1 uint64
		want uint32
	}{
		{"getpid", 0, unix.SECCOMP_RET_ERRNO | 38}, {"mount", 0, unix.SECCOMP_RET_ALLOW}, {"kill", 9, unix.SECCOMP_RET_KILL_PROCESS},
		{"kill", 15, unix.SECCOMP_RET_KILL_PROCESS}, {"kill", 1, unix.SECCOMP_RET_ALLOW}, {"keyctl", 0, unix.SECCOMP_RET_ALLOW}, {"clone3", 0, unix.SECCOMP_RET_ERRNO | uint32(unix.ENOSYS)},
		{"setpriority", 1, unix.SECCOMP_RET_ERRNO | uint32(unix.EPERM)}, // contain's own stay
	} {
		if got := judge(t, f, sysCall{number: numbers[test.call], arch: nativePlatform.audit, args: [6]uint64{0, test.arg1}}); got != test.want {
			t.Errorf("%s: %x, want %x", test.call, got, test.want)
		}
	}
}

// Docker's own JSON says the same as its Go module.
func TestSeccompFileOfDocker(t *testing.T) {
	text, err := json.Marshal(seccomp.DefaultProfile())
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "p.json")
	if err := os.WriteFile(file, text, 0o600); err != nil {
		t.Fatal(err)
	}
	plain := readFilter(compiledProfile)
	if f, _, err := (filterOptions{profile: file}).compiledProfiles(defaultCaps()); err != nil || !slices.Equal(f, plain) {
		t.Error(fmt.Sprint("differs: ", len(f), " instructions, ", len(plain), ", ", err))
	}
}

// A profile without any of the calls that pid1 still makes is refused before the start.
func TestSeccompFileNeedsCalls(t *testing.T) {
	for _, call := range []string{"execve", "exit_group", "read", "rt_sigaction", "rt_sigprocmask", "write"} {
		file := filepath.Join(t.TempDir(), "p.json")
		if err := os.WriteFile(file, []byte(`{"defaultAction":"SCMP_ACT_ALLOW","syscalls":[{"names":["`+call+`"],"action":"SCMP_ACT_ERRNO"}]}`), 0o600); err != nil {
			t.Fatal(err)
		}
		_, err := filterOptions{profile: file}.syscallFilter(defaultCaps(), false)
		if want := "-seccomp " + quoted(file) + ": forbids " + call + ", which contain itself needs to start the program"; text(err) != want {
			t.Errorf("%v, want %s", err, want)
		}
	}
}
