package main

import (
	"encoding/json"
	"os"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/vishvananda/netns"
)

// What a contain that has rested knows again of its container, and why it need not know
// the rest. A new field is in one of these lists, and if in the first, in rested, wakeUp
// and container of rest.go.
const (
	restoredFields = "id entry cgroup task limits init report pidfd sigs oom usage usageUnit netns counters network disks " +
		"addresses users rec hostEnd reported applied startedAt wokenAt callers parallel told swept unread"
	fieldsOfTheStart  = "config rootfs lib setup wanted bridge ids own pending question"
	fieldsOfATerminal = "terminal lent resumed asked leave" // with which it does not rest
	fieldsOfTheEnd    = "early killed ended broken expired overtime cutOff unleashed found endedAt"
	fieldsOfTheRest   = "watched sleepless" // of one try, or the exec is the proof
)

func TestEveryFieldIsRestoredOrNotNeeded(t *testing.T) {
	known := strings.Fields(strings.Join([]string{restoredFields, fieldsOfTheStart, fieldsOfATerminal, fieldsOfTheEnd, fieldsOfTheRest}, " "))
	for _, f := range reflect.VisibleFields(reflect.TypeFor[container]()) {
		if !slices.Contains(known, f.Name) {
			t.Errorf("container.%s: is it needed after a rest?", f.Name)
		}
	}
}

// What is written down comes back.
func TestRested(t *testing.T) {
	file := func(fd int, name string) *os.File { return os.NewFile(uintptr(fd), name) } // none is open
	ns := netns.NsHandle(1005)
	opts := defaults(func(o *options) { o.init, o.report, o.argv, o.cpuTime = false, "x", []string{"p", "q"}, time.Minute })
	c := &container{
		id: "0a1b2c3d", init: 77, report: file(1000, "report"), entry: file(1001, "/run/contain/0a1b2c3d"), oom: file(1002, "oom"),
		usage: file(1003, "usage"), usageUnit: time.Microsecond, netns: &ns, counters: []*os.File{file(1006, "dev"), nil, file(1007, "sockstat6")},
		disks: []ioLimit{{number: 2048}}, addresses: &claim{file(1008, "/run/contain/addresses")}, rec: &record{wanted: true, fd: 1009},
		hostEnd: 5, applied: map[string]string{"pids.max": "4096"}, startedAt: time.Now().Add(-time.Hour), callers: []int{9}, parallel: 3,
		sigs: &signals{notes: [2]int{1010, 1011}}, limits: opts.limits, network: opts.network,
	}
	c.pidfd.Store(1004)
	text, err := json.Marshal(c.rested())
	if err != nil {
		t.Fatal(err)
	}
	r := new(rested)
	if err := json.Unmarshal(text, r); err != nil {
		t.Fatal(err)
	}
	again := r.container(opts)
	if off := again.startedAt.Sub(c.startedAt).Abs(); off > time.Second {
		t.Errorf("the program started %s off", off)
	}
	if again.pidfd.Load() != 1004 || *again.netns != ns || !again.task.direct || again.task.argv[1] != "q" || !again.reported || !again.told || again.users != nil {
		t.Errorf("%+v", again)
	}
	for _, pair := range [][2]any{
		{c.id, again.id}, {c.init, again.init}, {c.usageUnit, again.usageUnit}, {c.disks, again.disks}, {c.hostEnd, again.hostEnd},
		{c.applied, again.applied}, {c.callers, again.callers}, {c.parallel, again.parallel}, {c.limits, again.limits}, {c.network, again.network},
	} {
		if !reflect.DeepEqual(pair[0], pair[1]) {
			t.Errorf("%v, want %v", pair[1], pair[0])
		}
	}
	for _, pair := range [][2]*os.File{
		{c.report, again.report}, {c.entry, again.entry}, {c.oom, again.oom}, {c.usage, again.usage}, {c.addresses.file, again.addresses.file},
		{c.counters[0], again.counters[0]}, {c.counters[1], again.counters[1]}, {c.counters[2], again.counters[2]},
	} {
		if (pair[0] == nil) != (pair[1] == nil) || pair[0] != nil && keptFile(pair[0]) != keptFile(pair[1]) {
			t.Errorf("%+v, want %+v", pair[1], pair[0])
		}
	}
}
