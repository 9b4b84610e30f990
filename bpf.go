// The compiler of seccomp profiles: from rules about system calls to classic BPF,
// as seccomp(2) takes it. libseccomp does it too, at run time in 3 to 27 ms
// (measured); the kernel then walks what is a list there and a search tree here.

package main

import (
	"fmt"
	"math"
	"slices"

	"github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"
)

// Offsets in struct seccomp_data, seccomp(2), on little-endian machines.
const (
	offNumber = 0
	offArch   = 4
	offArg    = 16 // of the lower half of argument 0; each takes 8 bytes
)

// rule says how system calls of one number are answered if all conditions hold.
type rule struct {
	conditions []specs.LinuxSeccompArg
	action     uint32
}

// ruleSet is what is to be done with the system calls of one architecture.
type ruleSet struct {
	calls    map[uint32][]rule // by number
	fallback uint32            // for those without a rule that holds
	newest   uint32            // the highest number that the author knew
	beyond   uint32            // for higher ones
}

// compile returns a program for a system call of the set's architecture. Every path
// in it ends in an answer. Of the rules for a call the first that holds counts, those
// with conditions before those without.
func (s ruleSet) compile() []unix.SockFilter {
	starts := []interval{{0, s.block(nil)}}
	add := func(from uint32, block []unix.SockFilter) {
		last := &starts[len(starts)-1]
		switch {
		case slices.Equal(last.block, block):
		case last.from == from:
			last.block = block
		default:
			starts = append(starts, interval{from, block})
		}
	}
	var numbers []uint32
	for n := range s.calls {
		numbers = append(numbers, n)
	}
	slices.Sort(numbers)
	for _, n := range numbers {
		add(n, s.block(s.calls[n]))
		if n < math.MaxUint32 {
			add(n+1, s.block(nil))
		}
	}
	if s.newest < math.MaxUint32 {
		add(s.newest+1, []unix.SockFilter{answer(s.beyond)})
	}
	// -1 is how a tracer skips a call: the filter sees it, and has no say.
	add(math.MaxUint32, []unix.SockFilter{answer(unix.SECCOMP_RET_ALLOW)})
	return append([]unix.SockFilter{load(offNumber)}, search(starts)...)
}

// interval is what is done with the numbers from one on up to the next interval.
type interval struct {
	from  uint32
	block []unix.SockFilter
}

// search returns a program that finds the interval of the number in the accumulator.
func search(list []interval) []unix.SockFilter {
	if len(list) == 1 {
		return list[0].block
	}
	low, high := search(list[:len(list)/2]), search(list[len(list)/2:])
	from := list[len(list)/2].from
	if len(low) <= math.MaxUint8 {
		return slices.Concat([]unix.SockFilter{jump(unix.BPF_JGE, from, uint8(len(low)), 0)}, low, high)
	}
	return slices.Concat([]unix.SockFilter{jump(unix.BPF_JGE, from, 0, 1), jumpFar(len(low))}, low, high)
}

// block returns the answer to a system call with these rules.
func (s ruleSet) block(rules []rule) (code []unix.SockFilter) {
	last := s.fallback
	for _, r := range rules {
		if len(r.conditions) == 0 {
			last = r.action
			break
		}
	}
	for _, r := range rules {
		if len(r.conditions) > 0 {
			code = append(code, r.code()...)
		}
	}
	return append(code, answer(last))
}

// code answers if all conditions hold, else falls through.
func (r rule) code() []unix.SockFilter {
	code := []unix.SockFilter{answer(r.action)}
	for _, c := range slices.Backward(r.conditions) {
		code = append(holds(c, len(code)), code...)
	}
	return code
}

// holds falls through if a condition on an argument holds, and else skips so many
// instructions more. All 64 bits are compared, as libseccomp does.
func holds(c specs.LinuxSeccompArg, skip int) []unix.SockFilter {
	low := load(offArg + 8*uint32(c.Index))
	high := load(low.K + 4)
	value, mask := c.Value, uint64(math.MaxUint64)
	if c.Op == specs.OpMaskedEqual {
		mask, value = c.Value, c.ValueTwo
	}
	and := func(half uint64) unix.SockFilter {
		return unix.SockFilter{Code: unix.BPF_ALU | unix.BPF_AND | unix.BPF_K, K: uint32(half)}
	}
	h, l, no := uint32(value>>32), uint32(value), uint8(skip)
	switch c.Op {
	case specs.OpEqualTo, specs.OpMaskedEqual:
		return []unix.SockFilter{high, and(mask >> 32), jump(unix.BPF_JEQ, h, 0, no+3),
			low, and(mask), jump(unix.BPF_JEQ, l, 0, no)}
	case specs.OpNotEqual:
		return []unix.SockFilter{high, jump(unix.BPF_JEQ, h, 0, 2), low, jump(unix.BPF_JEQ, l, no, 0)}
	case specs.OpGreaterThan:
		return []unix.SockFilter{high, jump(unix.BPF_JGT, h, 3, 0), jump(unix.BPF_JEQ, h, 0, no+2),
			low, jump(unix.BPF_JGT, l, 0, no)}
	case specs.OpGreaterEqual:
		return []unix.SockFilter{high, jump(unix.BPF_JGT, h, 3, 0), jump(unix.BPF_JEQ, h, 0, no+2),
			low, jump(unix.BPF_JGE, l, 0, no)}
	case specs.OpLessThan:
		return []unix.SockFilter{high, jump(unix.BPF_JGT, h, no+3, 0), jump(unix.BPF_JEQ, h, 0, 2),
			low, jump(unix.BPF_JGE, l, no, 0)}
	case specs.OpLessEqual:
		return []unix.SockFilter{high, jump(unix.BPF_JGT, h, no+3, 0), jump(unix.BPF_JEQ, h, 0, 2),
			low, jump(unix.BPF_JGT, l, no, 0)}
	}
	panic(fmt.Sprintf("a comparison %q that nobody has checked", c.Op))
}

func load(offset uint32) unix.SockFilter {
	return unix.SockFilter{Code: unix.BPF_LD | unix.BPF_W | unix.BPF_ABS, K: offset}
}

// jump skips yes or no instructions.
func jump(test uint16, value uint32, yes, no uint8) unix.SockFilter {
	return unix.SockFilter{Code: unix.BPF_JMP | test | unix.BPF_K, Jt: yes, Jf: no, K: value}
}

// jumpFar skips n instructions.
func jumpFar(n int) unix.SockFilter {
	return unix.SockFilter{Code: unix.BPF_JMP | unix.BPF_JA, K: uint32(n)}
}

func skipIfEqual(value uint32, n uint8) unix.SockFilter { return jump(unix.BPF_JEQ, value, n, 0) }

func answer(value uint32) unix.SockFilter {
	return unix.SockFilter{Code: unix.BPF_RET | unix.BPF_K, K: value}
}
