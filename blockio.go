// Limits of block I/O, -io-max: the device is named by a node, by anything on a file
// system that lies on it, or by its numbers.

package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/moby/sys/mountinfo"
	"github.com/opencontainers/cgroups"
	"golang.org/x/sys/unix"
)

// ioLimit limits the I/O on one device. 0 is no limit.
type ioLimit struct {
	device       string // as given
	rbps, wbps   uint64 // bytes in a second
	riops, wiops uint64 // operations in a second
	number       uint64 // of the whole disk, once resolved: dev_t
}

// parseIOLimit reads DEV:KEY=VALUE[,KEY=VALUE...].
func parseIOLimit(s string) (l ioLimit, err error) {
	split := strings.LastIndexByte(s, ':')
	if split <= 0 {
		return l, errors.New("not DEVICE:rbps=N,wbps=N,riops=N,wiops=N")
	}
	l.device = s[:split]
	for part := range strings.SplitSeq(s[split+1:], ",") {
		key, value, _ := strings.Cut(part, "=")
		var to *uint64
		switch key {
		case "rbps":
			to = &l.rbps
		case "wbps":
			to = &l.wbps
		case "riops":
			to = &l.riops
		case "wiops":
			to = &l.wiops
		default:
			return l, fmt.Errorf("%s is not rbps, wbps, riops or wiops", quoted(key))
		}
		var n int64
		if strings.HasSuffix(key, "bps") {
			n, err = parseSize(value)
		} else {
			n, err = parseCount(value, 1<<32-1, "a number of operations a second") // blkcg's are of 32 bits
		}
		if err == nil && n < 2 { // v2 takes no less (tg_set_limit, block/blk-throttle.c)
			err = errors.New("too small, the least is 2")
		}
		if err != nil {
			return l, fmt.Errorf("%s: %w", key, err)
		}
		*to = uint64(n)
	}
	return l, nil
}

// resolve finds the disk of l. A limit is one of a whole disk: of a partition the
// kernel takes none (blkg_conf_open_bdev, block/blk-cgroup.c).
func (l ioLimit) resolve() (ioLimit, error) {
	number, err := deviceOf(l.device)
	if err != nil {
		return l, err
	}
	sys := fmt.Sprintf("/sys/dev/block/%d:%d", unix.Major(number), unix.Minor(number))
	if _, err := os.Stat(sys); err != nil {
		return l, fmt.Errorf("no block device has the number %d:%d", unix.Major(number), unix.Minor(number))
	}
	if exists(sys, "partition") {
		path, err := filepath.EvalSymlinks(sys)
		if err != nil {
			return l, err
		}
		text, err := os.ReadFile(filepath.Join(filepath.Dir(path), "dev"))
		if err != nil {
			return l, reason(err)
		}
		if number, err = parseNumbers(strings.TrimSpace(string(text))); err != nil {
			return l, err
		}
	}
	l.number = number
	return l, nil
}

// deviceOf returns the number of a block device's node, or of the one that a file
// system lies on, or reads MAJOR:MINOR.
func deviceOf(name string) (uint64, error) {
	if number, err := parseNumbers(name); err == nil {
		return number, nil
	}
	var st unix.Stat_t
	if err := unix.Stat(name, &st); err != nil {
		return 0, err
	}
	if st.Mode&unix.S_IFMT == unix.S_IFBLK {
		return st.Rdev, nil
	}
	if unix.Major(st.Dev) != 0 {
		return st.Dev, nil
	}
	// A number of the file system's own: btrfs has one, overlay and tmpfs too.
	mounts, err := mountinfo.GetMounts(func(m *mountinfo.Info) (skip, stop bool) {
		return m.Major != int(unix.Major(st.Dev)) || m.Minor != int(unix.Minor(st.Dev)), false
	})
	if err != nil || len(mounts) == 0 || !filepath.IsAbs(mounts[0].Source) || unix.Stat(mounts[0].Source, &st) != nil || st.Mode&unix.S_IFMT != unix.S_IFBLK {
		return 0, errors.New("not a block device, nor on a file system that lies on one")
	}
	return st.Rdev, nil
}

// parseNumbers reads MAJOR:MINOR.
func parseNumbers(s string) (uint64, error) {
	first, second, ok := strings.Cut(s, ":")
	major, err1 := strconv.ParseUint(first, 10, 12)
	minor, err2 := strconv.ParseUint(second, 10, 20)
	if !ok || err1 != nil || err2 != nil {
		return 0, errors.New("not MAJOR:MINOR")
	}
	return unix.Mkdev(uint32(major), uint32(minor)), nil
}

// limitIO adds l to what a cgroup is limited to.
func limitIO(r *cgroups.Resources, l ioLimit) {
	for _, one := range []struct {
		rate uint64
		list *[]*cgroups.ThrottleDevice
	}{
		{l.rbps, &r.BlkioThrottleReadBpsDevice}, {l.wbps, &r.BlkioThrottleWriteBpsDevice},
		{l.riops, &r.BlkioThrottleReadIOPSDevice}, {l.wiops, &r.BlkioThrottleWriteIOPSDevice},
	} {
		if one.rate != 0 {
			*one.list = append(*one.list, cgroups.NewThrottleDevice(int64(unix.Major(l.number)), int64(unix.Minor(l.number)), one.rate))
		}
	}
}
