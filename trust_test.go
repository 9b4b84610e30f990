package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestCheckTrust(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("must be run as root")
	}
	base, err := os.MkdirTemp("", "trust") // not below a directory that others can write to
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(base) })
	mode := func(name string, uid, gid int, mode os.FileMode) {
		if err := os.MkdirAll(filepath.Join(base, name), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.Chown(filepath.Join(base, name), uid, gid); err != nil {
			t.Fatal(err)
		}
		if err := os.Chmod(filepath.Join(base, name), mode); err != nil {
			t.Fatal(err)
		}
	}
	mode("good/root", 0, 0, 0o755)
	mode("rootgroup/root", 0, 0, 0o755)
	mode("rootgroup", 0, 0, 0o775)
	mode("group/root", 0, 0, 0o755)
	mode("group", 0, 7, 0o775)
	mode("owned/root", 0, 0, 0o755)
	mode("owned", 7, 0, 0o755)
	mode("theirs", 7, 7, 0o755)
	mode("sticky/root", 0, 0, 0o755)
	mode("sticky/theirs", 7, 7, 0o755)
	mode("sticky", 0, 0, os.ModeSticky|0o777)
	link := func(name, to string) {
		if err := os.Symlink(to, filepath.Join(base, name)); err != nil {
			t.Fatal(err)
		}
	}
	link("toGood", "good/root")
	link("toGoodAbsolute", filepath.Join(base, "good/root"))
	link("loop", "loop")
	link("owned/link", filepath.Join(base, "good/root"))
	link("sticky/rootlink", filepath.Join(base, "good/root"))
	link("sticky/theirlink", filepath.Join(base, "good/root"))
	if err := os.Lchown(filepath.Join(base, "sticky/theirlink"), 7, 7); err != nil {
		t.Fatal(err)
	}
	t.Chdir(filepath.Join(base, "owned/root"))
	for dir, want := range map[string]string{
		"good/root": "", "good//root/": "", "good/./root/../root": "", "toGood": "", "toGoodAbsolute": "", "rootgroup/root": `"BASE/rootgroup" can be changed by group 0, or by an ACL`,
		"sticky/root": "", "sticky/rootlink": "", "good/../theirs/../good/root": `"BASE/theirs" can be changed by user 7, who owns it`,
		"group/root": `"BASE/group" can be changed by group 7, or by an ACL`, "owned/root": `"BASE/owned" can be changed by user 7, who owns it`,
		"theirs": `"BASE/theirs" can be changed by user 7, who owns it`, "sticky": `"BASE/sticky" can be changed by everybody`,
		"owned/link": `"BASE/owned" can be changed by user 7, who owns it`, "loop": "too many levels of symbolic links",
		"sticky/theirlink": `"BASE/sticky" can be changed by everybody`, "sticky/theirs": `"BASE/sticky" can be changed by everybody`,
		"missing": "no such file or directory",
	} {
		got := strings.ReplaceAll(text(checkTrust(filepath.Join(base)+"/"+dir, nil)), base, "BASE")
		if got != want {
			t.Errorf("%s: %s, want %s", dir, got, want)
		}
	}
	if got := strings.ReplaceAll(text(checkTrust(".", nil)), base, "BASE"); got != `"BASE/owned" can be changed by user 7, who owns it` {
		t.Errorf("the working directory: %s", got)
	}
	other, err := os.Open(filepath.Join(base, "rootgroup/root"))
	if err != nil {
		t.Fatal(err)
	}
	defer other.Close()
	if got := text(checkTrust(filepath.Join(base, "good/root"), other)); got != "was exchanged while it was looked at" {
		t.Errorf("another was opened: %s", got)
	}
}
