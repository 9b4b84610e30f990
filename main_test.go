package main

import (
	"bytes"
	"errors"
	"flag"
	"os"
	"regexp"
	"runtime"
	"slices"
	"strings"
	"testing"
)

// text is err's message, and "" where there is no error.
func text(err error) string {
	if err == nil {
		return ""
	}
	return err.Error()
}

// hint is what report would print below err, and "" for nothing.
func hint(err error) string {
	var h *hintError
	if errors.As(err, &h) {
		return h.hint
	}
	return ""
}

func TestRunWithBadArguments(t *testing.T) {
	tests := []struct {
		args []string
		want string
	}{
		{nil, "-chroot is required"},
		{[]string{"init"}, "-chroot is required"},
		{[]string{"-foo"}, "flag provided but not defined: -foo"},
		{[]string{"-chroot"}, "flag needs an argument: -chroot"},
		{[]string{"-chroot", "", "p"}, `-chroot "": empty`},
		{[]string{"-chroot", "/r"}, "no program given"},
		{[]string{"-chroot", "/r", "-memory-limit", "lots", "p"}, `-memory-limit "lots": not a size, such as 128M`},
	}
	for _, test := range tests {
		var stdout bytes.Buffer
		st, err := run(test.args, &stdout)
		if st != failed || text(err) != test.want || stdout.Len() > 0 {
			t.Errorf("run(%q) = %+v, %v, stdout %q; want 125, %s", test.args, st, err, stdout.String(), test.want)
		}
	}
}

func TestRunHelp(t *testing.T) {
	for _, arg := range []string{"-h", "-help", "--help"} {
		var stdout bytes.Buffer
		st, err := run([]string{arg}, &stdout)
		if st != (status{}) || err != nil || stdout.String() != usage {
			t.Errorf("run(%q) = %+v, %v, stdout:\n%s", arg, st, err, stdout.String())
		}
	}
}

func TestRunVersion(t *testing.T) {
	defer func(v string) { version = v }(version)
	version = "v1.2.3"
	var stdout bytes.Buffer
	st, err := run([]string{"-version"}, &stdout)
	if st != (status{}) || err != nil {
		t.Errorf("run(-version) = %+v, %v", st, err)
	}
	line := regexp.MustCompile(`^contain v1\.2\.3 \(commit ([0-9a-f]+|unknown), libcontainer (v1\.[0-9.]+\S*), ` + regexp.QuoteMeta(runtime.Version()) + `\)\n$`)
	if !line.MatchString(stdout.String()) {
		t.Errorf("-version prints %q", stdout.String())
	}
}

type badWriter struct{ err error }

func (w badWriter) Write([]byte) (int, error) {
	if w.err == nil {
		panic("boom")
	}
	return 0, w.err
}

// A full disk behind `contain -h > file` must not look like success.
func TestRunOutputFails(t *testing.T) {
	full := errors.New("no space left on device")
	for _, arg := range []string{"-h", "-version"} {
		st, err := run([]string{arg}, badWriter{full})
		if st != failed || !errors.Is(err, full) {
			t.Errorf("run(%s) = %+v, %v; want 125, %v", arg, st, err, full)
		}
	}
}

func TestRunPanics(t *testing.T) {
	st, err := run([]string{"-h"}, badWriter{})
	if st != failed || text(err) != "internal error: boom" {
		t.Errorf("run = %+v, %v", st, err)
	}
}

// flagNames are the flags in the flag set, and the one that package flag adds.
func flagNames() []string {
	names := []string{"h"}
	newFlagSet(new(options), flagTexts{}).VisitAll(func(f *flag.Flag) { names = append(names, f.Name) })
	return names
}

// Each text has every flag, and none that is gone.
func TestFlagsAreDocumented(t *testing.T) {
	tests := []struct {
		file, text string
		mention    string // matches, before a flag's name
		definition string // matches the line that explains a flag
	}{
		{"main.go", usage, `(^|[^-\w])-`, `(?m)^ +-([-\w]+)`},
		{"README.md", document(t, "README.md"), `(^|[^-\w])-`, ""},
		{"contain.8", document(t, "contain.8"), `^\.It (.* )?Fl `, `(?m)^\.It Fl ([-\w]+)`},
	}
	for _, test := range tests {
		t.Run(test.file, func(t *testing.T) {
			if test.text == "" {
				t.Fatal("missing or empty")
			}
			if test.file == "README.md" && !strings.Contains(test.text, usage) {
				t.Error("does not contain the usage text byte for byte")
			}
			for _, name := range flagNames() {
				word := regexp.MustCompile(`(?m)` + test.mention + name + `($|[^-\w])`)
				if !word.MatchString(test.text) {
					t.Errorf("lacks -%s", name)
				}
			}
			if test.definition == "" {
				return
			}
			for _, m := range regexp.MustCompile(test.definition).FindAllStringSubmatch(test.text, -1) {
				if !slices.Contains(flagNames(), m[1]) {
					t.Errorf("explains -%s, which is no flag", m[1])
				}
			}
		})
	}
}

// document returns a file's text, and "" where there is no such file. mdoc may
// write a hyphen as \-.
func document(t *testing.T, file string) string {
	data, err := os.ReadFile(file)
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		t.Error(err)
	}
	if file == "contain.8" {
		return strings.ReplaceAll(string(data), `\-`, "-")
	}
	return string(data)
}
