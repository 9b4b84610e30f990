package test

// faults.md says which test shows what. A table that names tests which are not there,
// or leaves out a fault, would promise what nobody looks at.

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// Every fault has its line, and every test that is named there, or in the table of the
// escape corpus, exists.
func TestFaultsAreShown(t *testing.T) {
	files, err := filepath.Glob("*_test.go")
	more, err2 := filepath.Glob("../*_test.go")
	must(t, err, err2)
	var sources strings.Builder
	for _, file := range append(files, more...) {
		text, err := os.ReadFile(file)
		must(t, err)
		sources.Write(text)
	}
	if sources.Len() == 0 {
		t.Skip("the sources are not here")
	}
	for _, name := range []string{"faults.md", "escape/README.md"} {
		table, err := os.ReadFile(name)
		must(t, err)
		for _, test := range regexp.MustCompile(`Test[A-Z][A-Za-z0-9]+\b[^.…]`).FindAllString(string(table), -1) {
			test = test[:len(test)-1]
			if !strings.Contains(sources.String(), "func "+test+"(") {
				t.Errorf("%s names %s, which is not there", name, test)
			}
		}
		for n := 1; n <= 46 && name == "faults.md"; n++ {
			if strings.Count(string(table), "\n| F"+itoa(n)+" |") != 1 {
				t.Errorf("%s has not one line for F%d", name, n)
			}
		}
	}
}
