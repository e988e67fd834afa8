package testutil

import (
	"fmt"
	"math/rand/v2"
	"os"
	"strconv"

	"golang.org/x/sys/unix"
)

// threads changes which CPUs the threads of the process may use. A thread that ends meanwhile is no
// error.
type threads struct {
	all  unix.CPUSet // CPUs allowed when it was made
	cpus []int       // the same as a list; with fewer than two there is no choice
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

// scatter lets about half of the threads use all CPUs, and each of the others just one.
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

// free lets all threads use all CPUs again, which may be one.
func (th *threads) free() { allow(&th.all) }

// allow lets all threads use these CPUs. A new thread inherits the CPUs of the thread that makes
// it, so allow repeats until it finds none that may use others.
func allow(cpus *unix.CPUSet) {
	for again := true; again; {
		again = false
		for _, tid := range tasks() {
			var now unix.CPUSet
			if unix.SchedGetaffinity(tid, &now) == nil && now != *cpus {
				again = unix.SchedSetaffinity(tid, cpus) == nil || again
			}
		}
	}
}

// BindThreads lets all threads of the process, and those that start meanwhile, run on one CPU only,
// until undo. It is for tests of the trylock engine: a P is where any of the threads that have run
// it was found last.
func BindThreads(cpu int) (undo func(), err error) {
	th, err := newThreads()
	if err != nil {
		return nil, err
	}
	var one unix.CPUSet
	one.Set(cpu)
	allow(&one)
	return th.free, nil
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
