package test

import (
	"cmp"
	"fmt"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// auditTable says of each item of the audit probe what it is under Docker's defaults
// and under contain's, and which of the two is tighter: class, item, docker, contain,
// verdict. It is made by "make audit".
const auditTable = "audit/table.tsv"

// item is one thing to be reached, in the probe's words.
type item struct{ class, name string }

type findings map[item]string

// ranks orders what an item may be: what is not named is a refusal, 0. Two refusals
// are the same. "host" is a namespace, "off" a protection.
var ranks = map[string]int{
	"empty": 1, "absent": 1, "ro": 2, "rw": 3, "wo": 3, "allowed": 4, "host": 4, "off": 4,
}

// auditElsewhere are files that this machine's kernel does not have, and others do,
// with the same value under Docker, which masks none of them.
var auditElsewhere = findings{
	{"path", "/proc/dynamic_debug/control"}: "rw",
	{"path", "/sys/class"}:                  "ro", // and what drivers put there
}

// verdict compares two values of an item.
func verdict(class, docker, contain string) string {
	a, b := members(docker), members(contain)
	switch class {
	case "set":
	case "mount": // a set of restrictions
		switch {
		case docker == contain:
			return "same"
		case docker == "missing":
			return "looser"
		case contain == "missing":
			return "tighter"
		}
		a, b = b, a
	case "count":
		a, b = nil, nil
		docker, contain := number(docker), number(contain)
		return [...]string{"tighter", "same", "looser"}[1+cmp.Compare(contain, docker)]
	default:
		return [...]string{"tighter", "same", "looser"}[1+cmp.Compare(ranks[contain], ranks[docker])]
	}
	switch {
	case len(without(b, a)) > 0:
		return "looser"
	case len(without(a, b)) > 0:
		return "tighter"
	}
	return "same"
}

// members are the words of a set.
func members(set string) []string {
	if set == "none" || set == "missing" {
		return nil
	}
	return strings.Split(set, ",")
}

func number(text string) int {
	n, _ := strconv.Atoi(text)
	return n
}

// parseAudit reads the probe's lines.
func parseAudit(text string) findings {
	found := findings{}
	for line := range strings.Lines(text) {
		if f := strings.Split(strings.TrimSuffix(line, "\n"), "\t"); len(f) == 3 {
			found[item{f[0], f[1]}] = f[2]
		}
	}
	return found
}

// value is what the table has for an item: of a path that it does not have, what it
// has for the directory, and of anything else, a refusal.
func (f findings) value(i item) string {
	for {
		v, ok := f[i]
		switch {
		case ok:
			return v
		case i.class == "count":
			return "0"
		case i.class == "path" && len(i.name) > 1:
			i.name = path.Dir(i.name)
		default:
			return "missing"
		}
	}
}

// shown is what one container shows at a path: what is below a masked directory is
// masked.
func (f findings) shown(i item) string {
	if v := f.value(i); f[i] != "" || i.class != "path" || v == "masked" {
		return v
	}
	return "missing"
}

func items(sets ...findings) (list []item) {
	for _, s := range sets {
		for i := range s {
			list = append(list, i)
		}
	}
	slices.SortFunc(list, func(a, b item) int {
		return cmp.Or(cmp.Compare(a.class, b.class), cmp.Compare(a.name, b.name))
	})
	return slices.Compact(list)
}

// answers is what docker and contain show.
type answers struct{ docker, contain string }

// summary leaves out the paths that are as most of what is in their directory, when
// that is listed instead, and those that show nothing by the kernel's own doing.
func summary(rows map[item]answers) {
	counts := map[string]map[answers]int{}
	for i, p := range rows {
		if i.class == "path" && strings.Count(i.name, "/") > 2 && p.docker == p.contain && (p.docker == "none" || p.docker == "empty") {
			delete(rows, i)
			continue
		}
		for dir := i.name; i.class == "path" && len(dir) > 1; dir = path.Dir(dir) {
			if counts[dir] == nil {
				counts[dir] = map[answers]int{}
			}
			counts[dir][p]++
		}
	}
	most := func(dir string) (best answers) {
		for p, n := range counts[dir] {
			if c := cmp.Compare(n, counts[dir][best]); c > 0 || c == 0 && fmt.Sprint(p) < fmt.Sprint(best) {
				best = p
			}
		}
		return best
	}
	var dirs []string
	for dir := range counts {
		dirs = append(dirs, dir)
	}
	slices.Sort(dirs) // parents first
	for _, dir := range dirs {
		own, above := most(dir), path.Dir(dir)
		for ; len(above) > 1; above = path.Dir(above) {
			if _, ok := rows[item{"path", above}]; ok {
				break
			}
		}
		if len(above) > 1 && rows[item{"path", above}] == own {
			delete(rows, item{"path", dir})
		} else {
			rows[item{"path", dir}] = own
		}
	}
}

// writeAuditTable compares what the probe found in both containers.
func writeAuditTable(t *testing.T, docker, contain findings) {
	rows := map[item]answers{}
	for _, i := range items(docker, contain) {
		rows[i] = answers{docker.shown(i), contain.shown(i)}
	}
	summary(rows)
	for i, v := range auditElsewhere {
		rows[i] = answers{v, v}
	}
	known := findings{}
	for i := range rows {
		known[i] = ""
	}
	var text strings.Builder
	for _, i := range items(known) {
		p := rows[i]
		fmt.Fprintf(&text, "%s\t%s\t%s\t%s\t%s\n", i.class, i.name, p.docker, p.contain, verdict(i.class, p.docker, p.contain))
	}
	if err := os.WriteFile(auditTable, []byte(text.String()), 0o644); err != nil {
		t.Fatal(err)
	}
}

// readAuditTable returns what the table has for contain, and the items with which
// it is looser than Docker.
func readAuditTable(t *testing.T) (contain findings, looser []string) {
	text, err := os.ReadFile(auditTable)
	if err != nil {
		t.Fatal(err)
	}
	contain = findings{}
	for line := range strings.Lines(string(text)) {
		f := strings.Split(strings.TrimSuffix(line, "\n"), "\t")
		if len(f) != 5 {
			t.Fatalf("%s: not five columns: %q", auditTable, line)
		}
		if verdict(f[0], f[2], f[3]) != f[4] {
			t.Errorf("%s: not the verdict: %q", auditTable, line)
		}
		contain[item{f[0], f[1]}] = f[3]
		if f[4] == "looser" {
			looser = append(looser, strings.Join(f[:4], " "))
		}
	}
	return contain, looser
}

// The probe reaches nothing that the committed table does not have for contain. With
// CONTAIN_AUDIT_DOCKER, a file with what it found under Docker's defaults, the table
// is made.
func TestAudit(t *testing.T) {
	leavesNothing(t)
	root := rootfs(t)
	copyFile(t, auditPath, filepath.Join(root, "bin", "audit"), 0o755)
	for _, dir := range []string{"tmp", "nodes"} {
		if err := os.Mkdir(filepath.Join(root, dir), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	if out, err := exec.Command("audit/nodes", filepath.Join(root, "nodes")).CombinedOutput(); err != nil {
		t.Fatalf("device nodes: %v: %s", err, out)
	}
	t.Setenv("SECRET", "of the caller")
	hostname, err := os.Hostname()
	if err != nil {
		t.Fatal(err)
	}
	args := []string{"-chroot", root, "--", "audit", "host=" + hostname}
	links, _ := filepath.Glob("/proc/self/ns/*")
	for _, l := range links {
		if target, err := os.Readlink(l); err == nil {
			args = append(args, target)
		}
	}
	r := contain(t, args...)
	found := parseAudit(r.stdout)
	if r.code() != 0 || len(found) < 1000 {
		t.Fatalf("the probe found %d items, status %d, stderr %q", len(found), r.code(), r.stderr)
	}
	if file := os.Getenv("CONTAIN_AUDIT_DOCKER"); file != "" {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		writeAuditTable(t, parseAudit(string(text)), found)
	}
	table, looser := readAuditTable(t)
	for _, i := range items(found) {
		want := table.value(i)
		if want == "empty" {
			want = "ro" // it may have something to say elsewhere
		}
		if verdict(i.class, want, found[i]) == "looser" {
			t.Errorf("%s %s: %s, the table has %s", i.class, i.name, found[i], want)
		}
	}
	for _, line := range looser {
		t.Errorf("looser than Docker: %s", line)
	}
}
