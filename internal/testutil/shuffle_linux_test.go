package testutil

import (
	"runtime"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// allowed counts the threads by how many CPUs they may use.
func allowed() map[int]int {
	by := map[int]int{}
	for _, tid := range tasks() {
		var set unix.CPUSet
		if unix.SchedGetaffinity(tid, &set) == nil {
			by[set.Count()]++
		}
	}
	return by
}

// TestShuffle: during a Shuffle threads are confined to single CPUs, and GOMAXPROCS changes.
// Afterwards everything is as before.
func TestShuffle(t *testing.T) {
	threads, err := newThreads()
	if err != nil {
		t.Skip(err)
	}
	procs := runtime.GOMAXPROCS(0)
	stop := Shuffle(t, 1)
	confined, changed := len(threads.cpus) < 2, false
	for deadline := time.Now().Add(time.Minute); !confined || !changed; time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Errorf("threads confined: %v; GOMAXPROCS changed: %v", confined, changed)
			break
		}
		confined = confined || allowed()[1] > 0
		changed = changed || runtime.GOMAXPROCS(0) != procs
	}
	stop()
	if by := allowed(); len(by) != 1 || by[threads.all.Count()] == 0 {
		t.Errorf("threads by number of CPUs afterwards: %v", by)
	}
	if now := runtime.GOMAXPROCS(0); now != procs {
		t.Errorf("GOMAXPROCS is %d instead of %d", now, procs)
	}
}
