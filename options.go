// What the user asked for: argv, parsed and typed, without a look at the host.

package main

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"net"
	"net/netip"
	"slices"
	"strings"
	"time"
)

// options holds argv after parsing. Nothing in it was compared with the host.
type options struct {
	rootfs string // -chroot, as given
	limits
	network
	privileges
	surroundings
	stateDir string
	tty      string   // auto, always or never
	report   string   // where to: fd:N, or a file; "": nowhere
	argv     []string // the program and its arguments
	init     bool     // the program is not PID 1, a small init is
	print    bool     // the configuration, and run nothing
	version  bool
	gc       bool // run nothing, but remove what others have left
}

// defaultStateDir is where running containers are recorded.
const defaultStateDir = "/run/contain"

const usageHint = "contain -h lists the flags; they go before the program"

// newFlagSet binds the flags to opts and to the texts that need parsing of
// their own, so that each error names its flag the same way.
func newFlagSet(opts *options, text flagTexts) *flag.FlagSet {
	fs := flag.NewFlagSet("contain", flag.ContinueOnError)
	fs.SetOutput(io.Discard)
	fs.Usage = func() {}
	fs.StringVar(&opts.rootfs, "chroot", "", "")
	for _, f := range textFlags {
		v := new(textValue)
		text[f.name] = v
		fs.Var(v, f.name, "")
		if f.alias != "" {
			fs.Var(v, f.alias, "")
		}
	}
	fs.StringVar(&opts.bridge, "bridge", "docker0", "")
	fs.StringVar(&opts.stateDir, "state-dir", defaultStateDir, "")
	fs.BoolVar(&opts.ask, "check-address", true, "")
	fs.BoolVar(&opts.strict, "network-strict", false, "")
	fs.StringVar(&opts.tty, "tty", "auto", "")
	fs.StringVar(&opts.report, "report", "", "")
	fs.BoolVar(&opts.init, "init", true, "")
	fs.BoolVar(&opts.print, "print-config", false, "")
	fs.StringVar(&opts.calls.profile, "seccomp", "", "")
	fs.BoolVar(&opts.calls.compat, "allow-32bit", false, "")
	fs.BoolVar(&opts.newPrivs, "allow-new-privs", false, "")
	fs.BoolVar(&opts.untrusted, "allow-untrusted-root", false, "")
	fs.BoolVar(&opts.readOnly, "read-only", false, "")
	fs.Var(&opts.idsText, "userns", "")
	fs.BoolVar(&opts.version, "version", false, "")
	return fs
}

// textFlag is a flag whose value is parsed after the command line. Of several
// values the last counts, or with adds each.
type textFlag struct {
	name, alias string
	adds        bool
	parse       func(o *options, s string) error
}

var textFlags = []textFlag{
	{name: "memory-limit", parse: into(parseMemory, func(o *options) *int64 { return &o.memory })},
	{name: "memory-soft-limit", parse: into(parseMemory, func(o *options) *int64 { return &o.memorySoft })},
	{name: "virtual-memory-limit", parse: func(o *options, s string) error {
		size, err := parseMemory(s)
		o.addRlimit(rlimit{"as", uint64(size), uint64(size)})
		return err
	}},
	{name: "cpu-core-ids", alias: "cpu-coreids", parse: into(parseCPUs, func(o *options) *cpuSet { return &o.cpus })},
	{name: "cpus", parse: into(parseCPUCount, func(o *options) *int64 { return &o.cpuQuota })},
	{name: "cpu-weight", parse: into(parseWeight, func(o *options) *uint64 { return &o.cpuWeight })},
	{name: "pids-limit", parse: into(parseTasks, func(o *options) *int64 { return &o.pids })},
	{name: "ulimit", adds: true, parse: func(o *options, s string) error {
		l, err := parseRlimit(s)
		o.addRlimit(l)
		return err
	}},
	{name: "io-max", adds: true, parse: func(o *options, s string) error {
		l, err := parseIOLimit(s)
		o.io = append(o.io, l)
		return err
	}},
	{name: "network-bandwidth", parse: into(parseBandwidth, func(o *options) *bandwidth { return &o.bandwidth })},
	{name: "timeout", parse: into(parseTimeLimit, func(o *options) *time.Duration { return &o.wall })},
	{name: "grace", parse: into(parseDuration, func(o *options) *time.Duration { return &o.grace })},
	{name: "cpu-time", parse: into(parseTimeLimit, func(o *options) *time.Duration { return &o.cpuTime })},
	{name: "network-address", adds: true, parse: func(o *options, s string) error {
		prefix, err := parseAddress(s)
		o.address = append(o.address, prefix)
		return err
	}},
	{name: "network", parse: into(parseAttachment, func(o *options) *attachment { return &o.attach })},
	{name: "dns", adds: true, parse: func(o *options, s string) error {
		a, err := parseServer(s)
		o.dns = append(o.dns, a)
		return err
	}},
	{name: "hosts", adds: true, parse: func(o *options, s string) error {
		h, err := parseHostName(s)
		o.hosts = append(o.hosts, h)
		return err
	}},
	{name: "network-name", parse: into(func(s string) (string, error) { return s, checkProgramInterface(s) }, func(o *options) *string { return &o.name })},
	{name: "network-mac", parse: into(parseMAC, func(o *options) *net.HardwareAddr { return &o.mac })},
	{name: "network-mtu", parse: into(parseMTU, func(o *options) *int { return &o.mtu })},
	{name: "gateway", adds: true, parse: func(o *options, s string) error {
		if s == "none" {
			o.noRoute = true
			return nil
		}
		a, err := parseGateway(s)
		o.gateways = append(o.gateways, a)
		return err
	}},
	{name: "cap-add", adds: true, parse: func(o *options, s string) error {
		c, err := parseCapability(s)
		o.capAdd.add(c)
		return err
	}},
	{name: "cap-drop", adds: true, parse: func(o *options, s string) error {
		c, err := parseCapability(s)
		o.capDrop.add(c)
		return err
	}},
	{name: "user", parse: into(parseUser, func(o *options) *programUser { return &o.user })},
	{name: "device", adds: true, parse: func(o *options, s string) error {
		d, err := parseDevice(s)
		o.devices = append(o.devices, d)
		return err
	}},
	{name: "unmask", adds: true, parse: func(o *options, s string) error {
		path, err := parseUnmask(s)
		o.unmask = append(o.unmask, path)
		return err
	}},
	{name: "sysctl", adds: true, parse: func(o *options, s string) error { return o.addSysctl(s) }},
	{name: "env", adds: true, parse: func(o *options, s string) error {
		v, err := parseEnv(s)
		if v != "" {
			o.env = append(o.env, v)
		}
		return err
	}},
	{name: "workdir", parse: into(parseWorkdir, func(o *options) *string { return &o.workdir })},
	{name: "hostname", parse: into(parseHostname, func(o *options) *string { return &o.hostname })},
}

// network is what the program sees of the network.
type network struct {
	address  []netip.Prefix // of its interface; none: loopback only
	bridge   string
	ask      bool // the segment, whether somebody has an address already
	gateways []netip.Addr
	noRoute  bool             // no default route, also not via the bridge
	mac      net.HardwareAddr // nil: derived from the id
	mtu      int              // 0: the bridge's
	name     string           // of the interface
	attach   attachment
	dns      []netip.Addr // for the program's own resolv.conf; none: it has DIR's
	hosts    []hostName   // for its own hosts file; none: DIR's

	strict bool // a filter on the host end of the veth
}

// into makes a textFlag's parse of a parser and the field that it is for.
func into[T any](parse func(string) (T, error), field func(*options) *T) func(*options, string) error {
	return func(o *options, s string) (err error) {
		*field(o), err = parse(s)
		return err
	}
}

// flagTexts keeps the values of textFlags, by name.
type flagTexts map[string]*textValue

// textValue records every value given to a flag.
type textValue []string

func (v *textValue) String() string { return strings.Join(*v, " ") }

func (v *textValue) Set(s string) error {
	*v = append(*v, s)
	return nil
}

// parseOptions reads the arguments after contain's own name. It returns
// flag.ErrHelp for -h.
func parseOptions(args []string) (options, error) {
	opts := options{limits: limits{grace: grace}, network: network{name: defaultInterface}}
	text := flagTexts{}
	// The problem statement this tool answers writes `contain chroot DIR`.
	if len(args) > 0 && args[0] == "chroot" {
		args = append([]string{"-chroot"}, args[1:]...)
	}
	opts.gc = len(args) > 0 && args[0] == "gc"
	if opts.gc {
		args = args[1:]
	}
	fs := newFlagSet(&opts, text)
	if err := fs.Parse(args); errors.Is(err, flag.ErrHelp) {
		return opts, err
	} else if err != nil {
		readOn(fs) // a -report behind the mistake is to tell of it
		return opts, withHint(fmt.Errorf("%.300w", err), usageHint)
	}
	opts.argv = fs.Args()
	switch {
	case opts.version:
		return opts, nil
	case opts.gc:
		return opts, opts.checkGC(fs)
	}
	if err := text.parse(&opts); err != nil {
		return opts, err
	}
	var err error
	if opts.ids, err = parseIDs(string(opts.idsText)); err != nil {
		return opts, fmt.Errorf("-userns %s: %w", quoted(string(opts.idsText)), err)
	}
	return opts, opts.checkUsage(fs)
}

// checkGC reports what "contain gc" does not take.
func (o *options) checkGC(fs *flag.FlagSet) error {
	others := len(o.argv)
	fs.Visit(func(f *flag.Flag) {
		if f.Name != "state-dir" {
			others++
		}
	})
	switch {
	case others > 0:
		return withHint(errors.New("gc takes nothing but -state-dir"), usageHint)
	case o.stateDir == "":
		return errors.New(`-state-dir "": empty`)
	}
	return nil
}

// readOn parses the flags behind one that could not be parsed.
func readOn(fs *flag.FlagSet) {
	for rest := fs.Args(); len(rest) > 0 && fs.Parse(rest) != nil; {
		if next := fs.Args(); len(next) < len(rest) {
			rest = next
		} else {
			rest = rest[1:]
		}
	}
}

// parse turns the texts into values.
func (t flagTexts) parse(opts *options) error {
	for _, f := range textFlags {
		values := *t[f.name]
		if !f.adds && len(values) > 1 {
			values = values[len(values)-1:]
		}
		for _, s := range values {
			if err := f.parse(opts, s); err != nil {
				return fmt.Errorf("-%s %s: %w", f.name, quoted(s), err)
			}
		}
	}
	return nil
}

// checkUsage reports what is missing from, or cannot be right in, the command
// line as a whole.
func (o *options) checkUsage(fs *flag.FlagSet) error {
	given := map[string]bool{}
	fs.Visit(func(f *flag.Flag) { given[f.Name] = true })
	switch {
	case !given["chroot"]:
		return withHint(errors.New("-chroot is required"), usageHint)
	case o.rootfs == "":
		return errors.New(`-chroot "": empty`)
	case given["report"] && o.report == "":
		return errors.New(`-report "": empty`)
	case o.stateDir == "":
		return errors.New(`-state-dir "": empty`)
	case o.tty != "auto" && o.tty != "always" && o.tty != "never":
		return fmt.Errorf("-tty %s: not auto, always or never", quoted(o.tty))
	case o.ids.wanted && (o.attach.kind == netHost || o.attach.kind == netJoin):
		return errors.New("-userns needs a network namespace of its own: not with -network host or netns")
	case o.print && o.report != "":
		return errors.New("-print-config does not go with -report: nothing is run")
	case o.strict && o.calls.profile == "none":
		return errors.New("-network-strict does not go with -seccomp none: packet sockets would get round it")
	case given["userns"] && o.idsText == "":
		return errors.New(`-userns "": empty`)
	case given["seccomp"] && o.calls.profile == "":
		return errors.New(`-seccomp "": empty`)
	case o.memory != 0 && o.memorySoft > o.memory:
		return errors.New("-memory-soft-limit is above -memory-limit")
	case len(o.argv) == 0:
		return withHint(errors.New("no program given"), usageHint)
	}
	if err := o.ids.check(o.user); err != nil {
		return err
	}
	if err := o.checkSysctls(); err != nil {
		return err
	}
	if err := checkInterfaceName(o.bridge); err != nil {
		return fmt.Errorf("-bridge %s: %w", quoted(o.bridge), err)
	}
	for _, name := range []string{"network-bandwidth", "network-name", "network-mac", "network-mtu", "gateway"} {
		if given[name] && len(o.address) == 0 {
			return fmt.Errorf("-%s needs -network-address", name)
		}
	}
	if err := o.checkAttachment(given); err != nil {
		return err
	}
	for _, check := range []func() error{o.checkTwice, o.checkMTU, o.checkGateways} {
		if err := check(); err != nil {
			return err
		}
	}
	return nil
}

// checkMTU reports one that is too small for an address.
func (n *network) checkMTU() error {
	const least6 = 1280 // RFC 8200
	for _, a := range n.address {
		if a.Addr().Is6() && n.mtu != 0 && n.mtu < least6 {
			return fmt.Errorf("-network-mtu %d: too small for an IPv6 address, the least is %d", n.mtu, least6)
		}
	}
	return nil
}

// checkTwice reports an address that is there already.
func (n *network) checkTwice() error {
	seen := map[netip.Addr]bool{}
	for _, a := range n.address {
		if seen[a.Addr()] {
			return fmt.Errorf("-network-address %s: is given twice", quoted(a.String()))
		}
		seen[a.Addr()] = true
	}
	return nil
}

// checkGateways reports a gateway that the program could not reach.
func (n *network) checkGateways() error {
	if n.noRoute && len(n.gateways) > 0 {
		return errors.New("-gateway none and another -gateway exclude each other")
	}
	seen := map[bool]bool{}
	for _, g := range n.gateways {
		single := false
		for _, a := range n.address {
			single = single || a.IsSingleIP() && a.Addr().Is4() == g.Is4()
			if a.Addr() == g {
				return fmt.Errorf("-gateway %s: is the program's own address", quoted(g.String()))
			}
			if !a.Contains(g) {
				continue
			}
			if err := checkHostPart(netip.PrefixFrom(g, a.Bits())); g.Is4() && err != nil {
				return fmt.Errorf("-gateway %s: %w", quoted(g.String()), err)
			}
		}
		switch {
		case !n.reaches(g) && !single:
			return fmt.Errorf("-gateway %s: in no network of a -network-address", quoted(g.String()))
		case seen[g.Is4()]:
			return fmt.Errorf("-gateway %s: a second one of its family", quoted(g.String()))
		}
		seen[g.Is4()] = true
	}
	return nil
}

// reaches tells whether a gateway is in a network of the program's. If not, it is told
// that it is behind the interface.
func (n *network) reaches(g netip.Addr) bool {
	return slices.ContainsFunc(n.address, func(a netip.Prefix) bool { return a.Contains(g) })
}

// quoted is s for a message: quoted, and cut if it is very long.
func quoted(s string) string {
	const most = 200
	if len(s) > most {
		return fmt.Sprintf("%q...", s[:most])
	}
	return fmt.Sprintf("%q", s)
}
