package main

import (
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"github.com/opencontainers/cgroups"
	"golang.org/x/sys/unix"
)

func TestParseIOLimit(t *testing.T) {
	tests := []struct {
		in   string
		want ioLimit
	}{
		{"/dev/sda:rbps=5", ioLimit{device: "/dev/sda", rbps: 5}},
		{"/dev/sda:wbps=10M", ioLimit{device: "/dev/sda", wbps: 10 << 20}},
		{"/dev/sda:riops=100", ioLimit{device: "/dev/sda", riops: 100}},
		{"/dev/sda:wiops=4294967295", ioLimit{device: "/dev/sda", wiops: 1<<32 - 1}},
		{"/dev/sda:rbps=1.5K,wbps=2MiB,riops=3,wiops=4", ioLimit{"/dev/sda", 1536, 2 << 20, 3, 4, 0}},
		{"/dev/sda:wiops=4,riops=3,wbps=2,rbps=5", ioLimit{"/dev/sda", 5, 2, 3, 4, 0}},
		{"8:0:rbps=5", ioLimit{device: "8:0", rbps: 5}},
		{"/dev/disk/by-path/pci-0:0:1:rbps=5", ioLimit{device: "/dev/disk/by-path/pci-0:0:1", rbps: 5}},
		{"/a=b,c=d:rbps=5", ioLimit{device: "/a=b,c=d", rbps: 5}},
		{"/a:rbps=2:rbps=5", ioLimit{device: "/a:rbps=2", rbps: 5}},
		{"d:rbps=5", ioLimit{device: "d", rbps: 5}},
		{"/a b\n:rbps=5", ioLimit{device: "/a b\n", rbps: 5}},
		{"/dev/sda:rbps=1024P", ioLimit{device: "/dev/sda", rbps: 1 << 60}},
	}
	for _, test := range tests {
		got, err := parseIOLimit(test.in)
		if got != test.want || err != nil {
			t.Errorf("parseIOLimit(%q) = %+v, %v; want %+v", test.in, got, err, test.want)
		}
	}
}

func TestParseIOLimitRefuses(t *testing.T) {
	tests := []struct {
		want   string
		inputs []string
	}{
		{"not DEVICE:rbps=N,wbps=N,riops=N,wiops=N", []string{"", ":", "/dev/sda", ":rbps=5", "rbps=5", "/dev/sda,rbps=5"}},
		{`"" is not rbps, wbps, riops or wiops`, []string{"/dev/sda:", "8:0:", "/dev/sda:rbps=5,", "/dev/sda:,rbps=5", "/dev/sda:rbps=5,,wbps=5", "/dev/sda:=1", "d::"}},
		{`"0" is not rbps, wbps, riops or wiops`, []string{"8:0"}},
		{`"RBPS" is not rbps, wbps, riops or wiops`, []string{"/dev/sda:RBPS=1"}},
		{`"bps" is not rbps, wbps, riops or wiops`, []string{"/dev/sda:bps=1", "/dev/sda:rbps=5,bps=1"}},
		{`" wbps" is not rbps, wbps, riops or wiops`, []string{"/dev/sda:rbps=5, wbps=5"}},
		{`"a\n\x1b" is not rbps, wbps, riops or wiops`, []string{"/dev/sda:a\n\x1b=1"}},
		{"rbps: empty size", []string{"/dev/sda:rbps", "/dev/sda:rbps=", "/dev/sda:wbps=5,rbps="}},
		{"rbps: must be greater than zero (leave the flag out for no limit)", []string{"/dev/sda:rbps=0", "/dev/sda:rbps=0M"}},
		{"wbps: must not be negative", []string{"/dev/sda:wbps=-1"}},
		{"wbps: too large", []string{"/dev/sda:wbps=9223372036854775808", "/dev/sda:wbps=18446744073709551616", "/dev/sda:wbps=" + digits41, "/dev/sda:wbps=" + digits1M}},
		{"wbps: not a size, such as 128M", []string{"/dev/sda:wbps=max", "/dev/sda:wbps=1=2", "/dev/sda:wbps=1e3", "/dev/sda:wbps=+1", "/dev/sda:wbps=1\n", "/dev/sda:wbps=10M/s"}},
		{"riops: not a number of operations a second", []string{"/dev/sda:riops", "/dev/sda:riops=", "/dev/sda:riops=1K", "/dev/sda:riops=1.0", "/dev/sda:riops=-1", "/dev/sda:riops=max", "/dev/sda:riops=1=2"}},
		{"riops: too small, the least is 1", []string{"/dev/sda:riops=0"}},
		{"wiops: too large, the most is 4294967295", []string{"/dev/sda:wiops=4294967296", "/dev/sda:wiops=18446744073709551617", "/dev/sda:wiops=" + digits1M}},
	}
	for _, test := range tests {
		for _, in := range test.inputs {
			if got, err := parseIOLimit(in); text(err) != test.want {
				t.Errorf("parseIOLimit(%s) = %+v, %v; want error %q", quoted(in), got, err, test.want)
			}
		}
	}
	if _, err := parseIOLimit("/dev/sda:" + digits1M + "=1"); err == nil || len(err.Error()) > 500 {
		t.Errorf("a key of a megabyte: no error, or one of %d bytes", len(text(err)))
	}
}

func TestParseNumbers(t *testing.T) {
	for in, want := range map[string]uint64{
		"8:0": unix.Mkdev(8, 0), "254:17": unix.Mkdev(254, 17), "0:0": 0, "008:000": unix.Mkdev(8, 0), "4095:1048575": unix.Mkdev(4095, 1048575),
	} {
		if got, err := parseNumbers(in); got != want || err != nil {
			t.Errorf("parseNumbers(%q) = %#x, %v; want %#x", in, got, err, want)
		}
	}
	for _, in := range []string{
		"", ":", "8", "8:", ":0", "8:0:0", "8 :0", " 8:0", "8:0\n", "8,0", "-8:0", "+8:0", "0x8:0", "8:1_0", "8.0:0", "٨:٠",
		"4096:0", "0:1048576", "4294967304:0", "18446744073709551624:0", "8:18446744073709551616", "8:" + digits1M,
	} {
		if got, err := parseNumbers(in); text(err) != "not MAJOR:MINOR" || got != 0 {
			t.Errorf("parseNumbers(%s) = %#x, %v", quoted(in), got, err)
		}
	}
}

func TestIOLimitResolveRefuses(t *testing.T) {
	const none = "not a block device, nor on a file system that lies on one"
	tests := []struct{ device, want string }{
		{"/proc", none},
		{"/proc/self/status", none},
		{"/nonexistent", "no such file or directory"},
		{"8:x", "no such file or directory"},
		{"/dev/null/x", "not a directory"},
		{"/a\x00b", "invalid argument"},
		{"4095:1048575", "no block device has the number 4095:1048575"},
		{"0:0", "no block device has the number 0:0"},
		{"1:3", "no block device has the number 1:3"}, // /dev/null's, as a character device
	}
	from, to, err := os.Pipe() // is on a file system that is mounted nowhere
	if err != nil {
		t.Fatal(err)
	}
	defer from.Close()
	defer to.Close()
	tests = append(tests, struct{ device, want string }{fmt.Sprintf("/proc/self/fd/%d", from.Fd()), none})
	for _, path := range []string{"/dev", "/dev/null", "/dev/shm", "/sys", "/sys/fs/cgroup"} { // where they are as usual
		var st unix.Stat_t
		if unix.Stat(path, &st) == nil && unix.Major(st.Dev) == 0 {
			tests = append(tests, struct{ device, want string }{path, none})
		}
	}
	for _, test := range tests {
		if exists("/sys/dev/block", test.device) {
			continue
		}
		if got, err := (ioLimit{device: test.device, rbps: 5}).resolve(); text(err) != test.want || got.number != 0 {
			t.Errorf("%q is resolved to %#x, %v; want error %q", test.device, got.number, err, test.want)
		}
	}
}

// disk returns the number and the node of a whole disk, or of a partition.
func disk(t *testing.T, partition bool) (numbers, node string) {
	t.Helper()
	list, _ := filepath.Glob("/sys/class/block/*")
	for _, dir := range list {
		text, err := os.ReadFile(filepath.Join(dir, "dev"))
		node = "/dev/" + filepath.Base(dir)
		var st unix.Stat_t
		if err != nil || exists(dir, "partition") != partition || unix.Stat(node, &st) != nil {
			continue
		}
		numbers = strings.TrimSpace(string(text))
		if numbers == fmt.Sprintf("%d:%d", unix.Major(st.Rdev), unix.Minor(st.Rdev)) && st.Mode&unix.S_IFMT == unix.S_IFBLK {
			return numbers, node
		}
	}
	t.Skip("no such block device here")
	return "", ""
}

// A disk is found by its node, by a link to that, and by its numbers.
func TestIOLimitResolve(t *testing.T) {
	numbers, node := disk(t, false)
	want, err := parseNumbers(numbers)
	if err != nil {
		t.Fatal(err)
	}
	link := filepath.Join(t.TempDir(), "link")
	if err := os.Symlink(node, link); err != nil {
		t.Fatal(err)
	}
	for _, device := range []string{node, numbers, link} {
		got, err := ioLimit{device: device, wiops: 5}.resolve()
		if err != nil || got != (ioLimit{device: device, wiops: 5, number: want}) {
			t.Errorf("%q is resolved to %+v, %v; want the number %#x", device, got, err, want)
		}
	}
}

// A partition stands for its disk, whose directory in /sys holds its own.
func TestIOLimitResolvePartition(t *testing.T) {
	numbers, node := disk(t, true)
	for _, device := range []string{node, numbers} {
		got, err := ioLimit{device: device}.resolve()
		whole := fmt.Sprintf("/sys/dev/block/%d:%d", unix.Major(got.number), unix.Minor(got.number))
		if err != nil || exists(whole, "partition") || !exists(whole, filepath.Base(node)) {
			t.Errorf("%q is resolved to %s, %v", device, whole, err)
		}
	}
}

// A file and a directory stand for the disk that they lie on.
func TestIOLimitResolvePath(t *testing.T) {
	dir := t.TempDir()
	var st unix.Stat_t
	if err := unix.Stat(dir, &st); err != nil || unix.Major(st.Dev) == 0 {
		t.Skipf("%s is on no block device of its own: %v", dir, err)
	}
	numbers := fmt.Sprintf("%d:%d", unix.Major(st.Dev), unix.Minor(st.Dev))
	want, err := ioLimit{device: numbers}.resolve()
	if err != nil {
		t.Skip(err)
	}
	file := filepath.Join(dir, "f=1,g:rbps")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, device := range []string{dir, file} {
		if got, err := (ioLimit{device: device}).resolve(); err != nil || got.number != want.number {
			t.Errorf("%q is resolved to %#x, %v; want %#x", device, got.number, err, want.number)
		}
	}
}

// What a file system is mounted from, such as "proc", need not be a path: it
// is not looked up in the working directory.
func TestIOLimitResolveSourceIsNoPath(t *testing.T) {
	_, node := disk(t, false)
	dir := t.TempDir()
	if err := os.Symlink(node, filepath.Join(dir, "proc")); err != nil {
		t.Fatal(err)
	}
	t.Chdir(dir)
	if got, err := (ioLimit{device: "/proc/self"}).resolve(); err == nil {
		t.Errorf("/proc/self is resolved to %#x, by ./proc", got.number)
	}
}

func TestLimitIO(t *testing.T) {
	device := func(rate uint64) []*cgroups.ThrottleDevice {
		return []*cgroups.ThrottleDevice{cgroups.NewThrottleDevice(8, 16, rate)}
	}
	number := unix.Mkdev(8, 16)
	tests := []struct {
		limit ioLimit
		want  cgroups.Resources
	}{
		{ioLimit{number: number}, cgroups.Resources{}},
		{ioLimit{number: number, rbps: 5}, cgroups.Resources{BlkioThrottleReadBpsDevice: device(5)}},
		{ioLimit{number: number, wbps: 2}, cgroups.Resources{BlkioThrottleWriteBpsDevice: device(2)}},
		{ioLimit{number: number, riops: 3}, cgroups.Resources{BlkioThrottleReadIOPSDevice: device(3)}},
		{ioLimit{number: number, wiops: 4}, cgroups.Resources{BlkioThrottleWriteIOPSDevice: device(4)}},
		{ioLimit{number: number, rbps: 5, wiops: 4}, cgroups.Resources{BlkioThrottleReadBpsDevice: device(5), BlkioThrottleWriteIOPSDevice: device(4)}},
	}
	for _, test := range tests {
		var got cgroups.Resources
		limitIO(&got, test.limit)
		if !reflect.DeepEqual(got, test.want) {
			t.Errorf("limitIO of %+v:\n got %+v\nwant %+v", test.limit, got, test.want)
		}
	}
	var got cgroups.Resources // a second device adds
	limitIO(&got, ioLimit{number: number, rbps: 5})
	limitIO(&got, ioLimit{number: unix.Mkdev(4095, 1<<20-1), rbps: 2})
	if list := got.BlkioThrottleReadBpsDevice; len(list) != 2 || list[0].String() != "8:16 5" || list[1].String() != "4095:1048575 2" {
		t.Errorf("two devices: %v", list)
	}
}
