package main

import (
	"bytes"
	"errors"
	"fmt"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

func TestStatusOf(t *testing.T) {
	tests := []struct {
		err  error
		want int
	}{
		{nil, 0},
		{errors.New("x"), 125},
		{unix.ENOENT, 125},
		{withHint(errors.New("x"), "y"), 125},
		{notFound("x"), 127},
		{cannotExec("x"), 126},
		{fmt.Errorf("x: %w", notFound("y")), 127},
		{withHint(cannotExec("x"), "y"), 126},
		{errors.Join(cannotExec("x"), errors.New("y")), 126},
		{errors.Join(errors.New("y"), notFound("x")), 127},
	}
	for _, test := range tests {
		want := status{code: test.want, cause: causeContain}
		if test.err == nil {
			want.cause = ""
		}
		if got := statusOf(test.err); got != want {
			t.Errorf("statusOf(%v) = %+v, want code %d", test.err, got, test.want)
		}
	}
}

// The numbers are wait(2)'s: the exit code in the second byte, or else the
// signal in the low seven bits, and 0x80 for a core file.
func TestStatusOfWait(t *testing.T) {
	tests := []struct {
		wait unix.WaitStatus
		want status
	}{
		{0, status{cause: causeExited}},
		{1 << 8, status{code: 1, cause: causeExited}},
		{125 << 8, status{code: 125, cause: causeExited}},
		{255 << 8, status{code: 255, cause: causeExited}},
		{unix.WaitStatus(unix.SIGHUP), status{signal: unix.SIGHUP, cause: causeSignal}},
		{unix.WaitStatus(unix.SIGKILL), status{signal: unix.SIGKILL, cause: causeSignal}},
		{unix.WaitStatus(unix.SIGSEGV) | 0x80, status{signal: unix.SIGSEGV, cause: causeSignal}},
		{34, status{signal: 34, cause: causeSignal}},
		{64, status{signal: 64, cause: causeSignal}},
	}
	for _, test := range tests {
		if got := statusOfWait(test.wait); got != test.want {
			t.Errorf("statusOfWait(%#x) = %+v, want %+v", uint32(test.wait), got, test.want)
		}
	}
}

func TestReport(t *testing.T) {
	tests := []struct {
		err  error
		want string
	}{
		{errors.New("plain"), "contain: plain\n"},
		{errors.New("ends in a newline\n"), "contain: ends in a newline\n"},
		{errors.New("two\nlines"), "contain: two\\nlines\n"},
		{errors.New("forged\ncontain: line\r\x1b[2K\x00"), `contain: forged\ncontain: line\r\x1b[2K\x00` + "\n"},
		{errors.Join(errors.New("a"), errors.New("b")), "contain: a\\nb\n"},
		{notFound("program %s: gone", quoted("a\nb")), `contain: program "a\nb": gone` + "\n"},
		{withHint(errors.New("x"), "do y"), "contain: x\nhint: do y\n"},
		{withHint(errors.New("x"), "do y\n"), "contain: x\nhint: do y\n"},
		{withHint(errors.New("x"), "do y\ndo z"), "contain: x\nhint: do y\\ndo z\n"},
		{withHint(errors.New("x"), "do\ty\x1b[1m"), `contain: x` + "\n" + `hint: do\ty\x1b[1m` + "\n"},
		{fmt.Errorf("w: %w", withHint(errors.New("x"), "do y")), "contain: w: x\nhint: do y\n"},
	}
	for _, test := range tests {
		var out bytes.Buffer
		report(&out, test.err)
		if out.String() != test.want {
			t.Errorf("report(%q):\n%swant:\n%s", test.err, out.String(), test.want)
		}
	}
}

func TestOneLine(t *testing.T) {
	tests := []struct{ in, want string }{
		{"", ""},
		{"\n\n", ""},
		{"text, é, 日本, \"quoted\" and 'quoted'", "text, é, 日本, \"quoted\" and 'quoted'"},
		{"a\tb", `a\tb`},
		{"a\r\nb", `a\r\nb`},
		{"\x00\x07\x1b\x7f", `\x00\a\x1b\x7f`},
		{"\u0085", `\u0085`},             // NEL, a C1 control
		{"\u009b31m", `\u009b31m`},       // CSI, a C1 control
		{"\u2028\u2029", `\u2028\u2029`}, // line and paragraph separator
		{"\u202e\u2066", `\u202e\u2066`}, // right-to-left override, isolate
		{"\u00a0\u3000", `\u00a0\u3000`}, // spaces that are none to a shell
		{"\u200b\ufeff", `\u200b\ufeff`}, // zero width
		{"a\xffb\x9b", "a\ufffdb\ufffd"}, // not UTF-8
	}
	for _, test := range tests {
		if got := oneLine(test.in); got != test.want {
			t.Errorf("oneLine(%q) = %q, want %q", test.in, got, test.want)
		}
	}
	for r := rune(0); r < 0x20; r++ {
		if got := oneLine("a" + string(r) + "b"); strings.ContainsRune(got, r) {
			t.Errorf("oneLine lets %U through", r)
		}
	}
}
