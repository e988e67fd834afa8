package testutil

import (
	"fmt"
	"math/rand/v2"
	"os"
	"strconv"

	"golang.org/x/sys/unix"
)

// threads are those of the process, and where they may run. A thread that ends
// meanwhile is no error.
type threads struct {
	all  unix.CPUSet // allowed when it was made
	cpus []int       // the same; fewer than two: nothing to choose from
}

func newThreads() (th threads, err error) {
	if err := unix.SchedGetaffinity(0, &th.all); err != nil {
		return th, fmt.Errorf("sched_getaffinity: %w", err)
	}
	var cpus []int
	for cpu := range len(th.all) * strconv.IntSize {
		if th.all.IsSet(cpu) {
			cpus = append(cpus, cpu)
		}
	}
	if err := unix.SchedSetaffinity(0, &th.all); err != nil {
		return th, fmt.Errorf("sched_setaffinity: %w", err)
	}
	th.cpus = cpus
	return th, nil
}

// scatter lets every other thread use all CPUs and each of the rest just one.
func (th *threads) scatter(rng *rand.Rand) {
	if len(th.cpus) < 2 {
		return
	}
	for _, tid := range tasks() {
		set := th.all
		if rng.IntN(2) == 0 {
			set.Zero()
			set.Set(th.cpus[rng.IntN(len(th.cpus))])
		}
		_ = unix.SchedSetaffinity(tid, &set)
	}
}

// free lets all threads use all CPUs again. New threads inherit from the one that
// makes them, so this goes on until it finds none to set free.
func (th *threads) free() {
	if len(th.cpus) < 2 {
		return
	}
	for again := true; again; {
		again = false
		for _, tid := range tasks() {
			var now unix.CPUSet
			if unix.SchedGetaffinity(tid, &now) == nil && now != th.all {
				again = unix.SchedSetaffinity(tid, &th.all) == nil || again
			}
		}
	}
}

// tasks lists the process's threads.
func tasks() (tids []int) {
	entries, _ := os.ReadDir("/proc/self/task")
	for _, e := range entries {
		if tid, err := strconv.Atoi(e.Name()); err == nil {
			tids = append(tids, tid)
		}
	}
	return tids
}
