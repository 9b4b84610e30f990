// Waits for what nobody reports: each is as short as was found to do, and none
// lies on the way of a program that starts, runs and ends undisturbed. What goes
// wrong if one is too short on a slow machine stands beside it.

package main

import "time"

const (
	// A signal that the kernel is delivering to contain and to its init arrives.
	// Else: 125 instead of the signal, at a Ctrl-C within the start.
	signalArrives = 20 * time.Millisecond

	// The handlers of signals that were sent before a SIGCONT run, tried so often at
	// this distance. Else: the program does a little more before it ends of a SIGTERM
	// that was sent while it was stopped, or stops once more.
	handlersRun, handlersTries = 200 * time.Microsecond, 1000

	// Another process has read a line that was to be read from the terminal.
	lineIsGone = 2 * time.Millisecond

	// A program that was resumed and stopped again goes on by itself. Else: a shell
	// sees its job stop once more.
	goesOnAgain = 100 * time.Millisecond

	// What was printed gets through the pty: found empty twice, at this distance,
	// and tried so often. Else: the shell's "Stopped" comes before the last of it.
	printedArrives, printedTries = 2 * time.Millisecond, 50

	// A pty that a process outside of the container holds open is empty: found so
	// five times. Else: the last of a program's output is lost.
	ptyIsEmpty, ptyTries = 100 * time.Millisecond, 5

	// Somebody takes what a program has printed that was told to end. Else: the last
	// of it is lost, as it would be if contain were killed next.
	readerComes = 2 * time.Second

	// Between two looks for processes that libcontainer has just started, to end them.
	childrenAppear = 10 * time.Millisecond

	// The carrier of a veth comes up, and with it the bridge's port, tried at this
	// distance, and with time at up to that of portIsLate; after carrierComes it is asked
	// whether the bridge is up at all, after bridgeIsSlow the user is told, after
	// bridgeForwards it is given up.
	portChanges    = 200 * time.Microsecond
	portIsLate     = 100 * time.Millisecond
	carrierComes   = 20 * time.Millisecond
	bridgeIsSlow   = time.Second
	bridgeForwards = 65 * time.Second

	// The kernel's work queue makes a new IPv6 address one that packets are taken to.
	// Tried like that; then the start fails. A hundred at once on two busy CPUs took more
	// than five seconds.
	addressIsLate = time.Minute

	// The kernel has listed addresses or neighbours without a change within.
	listTries = 1000

	// What a program has sent before its end is acknowledged, tried at this distance;
	// after sentIsLate it is cut off. Else: the last of it is lost.
	sentArrives = 5 * time.Millisecond
	sentIsLate  = time.Second

	// Who has answered answers again, asked at the distance of signalArrives: within as
	// long as the first answer took, and this at least, for a neighbour that is busy only
	// now. After netnsEnds it is no longer the netns of a program that has ended. Else: an
	// address that is taken is given out, or one that is free is refused.
	neighbourIsSilent = 200 * time.Millisecond
	netnsEnds         = time.Second

	// A network namespace dies that nobody holds, but that of a program that ended within
	// netnsSettles of its start later: the netlink sockets that gave it its addresses are
	// freed only then (an RCU grace period). Tried at the distance of netnsDies; after
	// netnsIsHeld the veth is removed. Else: it stays as long as the netns is held.
	netnsSettles = 50 * time.Millisecond
	netnsDies    = 500 * time.Microsecond
	netnsIsHeld  = 30 * time.Millisecond

	// A cgroup empties whose processes were killed, tried at this distance. A start waits
	// staleIsBusy for each that a dead contain has left, "contain gc" garbageIsBusy; after
	// staleIsMuch a start, which does not end before, leaves others alone. Else: the next
	// removes them.
	cgroupEmpties = time.Millisecond
	staleIsBusy   = 200 * time.Millisecond
	staleIsMuch   = 10 * time.Second
	garbageIsBusy = 2 * time.Second

	// Contain could not go to rest, as it hardly ever cannot.
	restFails = time.Millisecond

	// The kernel counts a kill for want of memory (v1), whose notice comes before it.
	// Else: the rest of the tree is not killed with it, unless another notice comes.
	oomIsCounted, oomTries = time.Millisecond, 100
)
