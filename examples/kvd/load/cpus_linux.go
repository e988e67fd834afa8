package main

import (
	"fmt"
	"os"
	"runtime"
	"strconv"
	"time"

	"golang.org/x/sys/unix"
)

// pause sleeps on the calling thread. A signal of the runtime's may end it early, which sends a
// request too early by as much; so it goes on with what is left.
func pause(d time.Duration) {
	left := unix.NsecToTimespec(d.Nanoseconds())
	for unix.Nanosleep(&left, &left) == unix.EINTR {
	}
}

// wakeOnTime has the kernel wake the calling thread when its sleep is over, not 50 us later, which
// it may do otherwise to wake several threads at once.
func wakeOnTime() error {
	if err := unix.Prctl(unix.PR_SET_TIMERSLACK, 1, 0, 0, 0); err != nil {
		return fmt.Errorf("prctl(PR_SET_TIMERSLACK): %w", err)
	}
	return nil
}

// splitCPUs gives the first half of the CPUs that this process may use to servers, and moves the
// process to the others until join is called. With one CPU it does nothing.
func splitCPUs(o *options) (join func(), err error) {
	var all unix.CPUSet
	if err := unix.SchedGetaffinity(0, &all); err != nil {
		return nil, fmt.Errorf("sched_getaffinity: %w", err)
	}
	n := all.Count()
	if n < 2 {
		return func() {}, nil
	}
	var servers, own unix.CPUSet
	for cpu, left := 0, n/2; servers.Count()+own.Count() < n; cpu++ {
		switch {
		case !all.IsSet(cpu):
		case left > 0:
			servers.Set(cpu)
			left--
		default:
			own.Set(cpu)
		}
	}
	if err := moveTo(&own); err != nil {
		return nil, err
	}
	o.onServerCPUs = func(start func() error) error { return onCPUs(&servers, &own, start) }
	procs := runtime.GOMAXPROCS(own.Count())
	return func() {
		_ = moveTo(&all) // where the process came from
		runtime.GOMAXPROCS(procs)
	}, nil
}

// moveTo moves all threads of this process. A thread that another one starts meanwhile may have
// the CPUs that its parent had, so moveTo looks again until it finds no new one.
func moveTo(cpus *unix.CPUSet) error {
	moved := map[string]bool{}
	for before := -1; before < len(moved); {
		before = len(moved)
		threads, err := os.ReadDir("/proc/self/task")
		if err != nil {
			return err
		}
		for _, t := range threads {
			id, err := strconv.Atoi(t.Name())
			if err != nil {
				return err
			}
			// ESRCH: the thread has ended.
			if err := unix.SchedSetaffinity(id, cpus); err != nil && err != unix.ESRCH {
				return fmt.Errorf("sched_setaffinity: %w", err)
			}
			moved[t.Name()] = true
		}
	}
	return nil
}

// onCPUs runs start on a thread that has the given CPUs meanwhile, which the process that it starts
// takes over.
func onCPUs(servers, own *unix.CPUSet, start func() error) error {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	if err := unix.SchedSetaffinity(0, servers); err != nil {
		return fmt.Errorf("sched_setaffinity: %w", err)
	}
	err := start()
	if back := unix.SchedSetaffinity(0, own); back != nil {
		return fmt.Errorf("sched_setaffinity: %w", back)
	}
	return err
}

// resident returns the bytes that the server's process has in memory.
func (p *process) resident() (int64, error) {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/statm", p.command.Process.Pid))
	if err != nil {
		return 0, err
	}
	var size, pages int64
	if _, err := fmt.Sscan(string(text), &size, &pages); err != nil {
		return 0, fmt.Errorf("statm has %q: %w", text, err)
	}
	return pages * int64(os.Getpagesize()), nil
}
