package main

import (
	"bytes"
	"debug/elf"
	"encoding/binary"
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

func TestPID1ImageIsAnELFOfOnePage(t *testing.T) {
	image := pid1Image()
	f, err := elf.NewFile(bytes.NewReader(image))
	if err != nil {
		t.Fatal(err)
	}
	if f.Type != elf.ET_EXEC || len(f.Progs) != 2 || len(image) > 4096 {
		t.Errorf("%+v, %d bytes", f.FileHeader, len(image))
	}
	text := f.Progs[0]
	if text.Flags != elf.PF_R|elf.PF_X || f.Entry < text.Vaddr || f.Entry >= text.Vaddr+text.Filesz || text.Filesz != uint64(len(image)) {
		t.Errorf("entry %#x in %+v", f.Entry, text.ProgHeader)
	}
	if stack := f.Progs[1]; stack.Type != elf.PT_GNU_STACK || stack.Flags&elf.PF_X != 0 {
		t.Errorf("stack %+v", stack.ProgHeader)
	}
}

// What bare code refers to outside its section is not there at run time.
func TestBareCodeRefersToNothing(t *testing.T) {
	cc := os.Getenv("CC")
	if cc == "" {
		cc = "cc"
	}
	for _, section := range []string{"pid1", "asleep"} {
		object := filepath.Join(t.TempDir(), "object")
		if out, err := exec.Command(cc, "-g", "-Os", "-c", "-o", object, section+".c").CombinedOutput(); err != nil {
			t.Fatalf("%v: %s", err, out)
		}
		f, err := elf.Open(object)
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		if s := f.Section(section); s == nil || s.Size == 0 || s.Size > 4096 {
			t.Errorf("section %s: %+v", section, s)
		}
		symbols, err := f.Symbols()
		if err != nil {
			t.Fatal(err)
		}
		for _, s := range f.Sections {
			if s.Name == ".rela"+section {
				text, err := s.Data()
				if err != nil {
					t.Fatal(err)
				}
				for ; len(text) > 0; text = text[24:] { // Elf64_Rela
					to := symbols[binary.NativeEndian.Uint64(text[8:])>>32-1]
					if to.Section >= elf.SectionIndex(len(f.Sections)) || f.Sections[to.Section].Name != section {
						t.Errorf("%s.c refers to %s", section, to.Name)
					}
				}
			}
			if slices.Contains([]string{"text", "rodata", "data", "bss"}, strings.SplitN(s.Name+".", ".", 3)[1]) && s.Size > 0 {
				t.Errorf("%d bytes in %s of %s.c", s.Size, s.Name, section)
			}
		}
	}
}

// runPID1 runs the real code outside of any container and returns what it
// reports.
func runPID1(t *testing.T, direct bool, argv ...string) (reports []pid1Report) {
	t.Helper()
	task, err := task{argv: argv, env: []string{"A=b"}, path: searchPath, caps: defaultCapSet, direct: direct}.encode()
	if err != nil {
		t.Fatal(err)
	}
	image, err := sealedFile("image", pid1Image())
	if err != nil {
		t.Fatal(err)
	}
	defer image.Close()
	taskFile, err := sealedFile("task", task)
	if err != nil {
		t.Fatal(err)
	}
	defer taskFile.Close()
	ends, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	r, w := os.NewFile(uintptr(ends[0]), "contain"), os.NewFile(uintptr(ends[1]), "pid1")
	defer r.Close()
	runtime.LockOSThread() // it asks to die with this thread
	defer runtime.UnlockOSThread()
	// The filter needs no_new_privs, or root.
	if err := unix.Prctl(unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0); err != nil {
		t.Fatal(err)
	}
	cmd := &exec.Cmd{Path: pid1Path, Args: []string{"pid1"}, ExtraFiles: []*os.File{w, image, taskFile}}
	err = cmd.Start()
	w.Close()
	if err != nil {
		t.Fatal(err)
	}
	for {
		report, err := readReport(r)
		if errors.Is(err, io.EOF) {
			cmd.Wait()
			return reports
		} else if err != nil {
			t.Fatal(err)
		}
		if report.kind == pid1Ready || report.kind == pid1Unlimited {
			r.Write([]byte{0})
			continue
		}
		reports = append(reports, report)
	}
}

func TestPID1Reports(t *testing.T) {
	if runtime.GOARCH != goHostArch() {
		t.Skip("user-mode emulation cannot execute a descriptor")
	}
	ended := func(reports []pid1Report) (ws unix.WaitStatus, ok bool) {
		if len(reports) != 1 || reports[0].kind != pid1Ended {
			return 0, false
		}
		return unix.WaitStatus(reports[0].value), true
	}
	if ws, ok := ended(runPID1(t, false, "/bin/sh", "-c", "exit 42")); !ok || ws.ExitStatus() != 42 {
		t.Errorf("exit 42: %v, %#x", ok, ws)
	}
	if ws, ok := ended(runPID1(t, false, "sh", "-c", `[ "$A" = b ] && kill -TERM $$`)); !ok || ws.Signal() != unix.SIGTERM {
		t.Errorf("TERM: %v, %#x", ok, ws)
	}
	for _, direct := range []bool{false, true} {
		found := false
		for _, r := range runPID1(t, direct, "/nosuchprogram") {
			found = found || r == pid1Report{pid1NotExecuted, int32(unix.ENOENT)}
		}
		if !found {
			t.Errorf("direct %v: no report that the program was not executed", direct)
		}
	}
	if reports := runPID1(t, true, "/bin/sh", "-c", "exit 42"); len(reports) != 0 {
		t.Errorf("direct: reports %v", reports)
	}
}

func goHostArch() string {
	out, err := exec.Command("uname", "-m").Output()
	if err != nil {
		return ""
	}
	return map[string]string{"x86_64": "amd64", "aarch64": "arm64"}[strings.TrimSpace(string(out))]
}

func TestReadReportPassesWordsOn(t *testing.T) {
	_, err := readReport(strings.NewReader("exec /proc/self/fd/4: no such file or directory\n"))
	if err == nil || !strings.Contains(err.Error(), "exec /proc/self/fd/4: no such file") {
		t.Errorf("%v", err)
	}
}

func TestReportOfFailure(t *testing.T) {
	for errno, code := range map[unix.Errno]int{
		unix.ENOENT: 127, unix.ENOTDIR: 127, unix.EACCES: 126, unix.ENOEXEC: 126, unix.E2BIG: 126, unix.ENOMEM: 126,
	} {
		err := pid1Report{pid1NotExecuted, int32(errno)}.failure(task{argv: []string{"p"}})
		if statusOf(err).code != code || !errors.Is(err, errno) {
			t.Errorf("%v: %d, %v", errno, statusOf(err).code, err)
		}
	}
	err := pid1Report{pid1NotFiltered, int32(unix.EINVAL)}.failure(task{argv: []string{"p"}})
	if statusOf(err).code != 125 || !strings.Contains(err.Error(), "CONFIG_SECCOMP_FILTER") {
		t.Errorf("%d, %v", statusOf(err).code, err)
	}
	if err := (pid1Report{pid1Ready, 0}).failure(task{argv: []string{"p"}}); err != nil {
		t.Error(err)
	}
}
