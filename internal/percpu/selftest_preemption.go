//go:build linux && (amd64 || arm64)

package percpu

import (
	"errors"
	"fmt"
	"runtime"
	"sync/atomic"
	"time"

	"github.com/slubd/slubd/internal/sys"
)

// spin waits in a sequence for the word at word to become other than 0, for n looks. It returns how
// many looks were left: 0 if the word stayed 0, and spinLate if it was not 0 when the sequence
// began. begun is how often the sequence began.
//
//go:noescape
func spin(word *uint64, n uint64) (left, begun uint64)

const spinLate = 1<<64 - 1

var (
	errGoesOn = errors.New("the kernel lets a sequence go on that another thread has interrupted, as Linux 6.19 to 7.0 may on arm64")
	errNoTurn = errors.New("self-test of preemption: no other thread has interrupted a sequence")
)

type sleepFunc func(word *uint64, d time.Duration) error

// selfTestPreemption checks that the kernel restarts a sequence when another thread of the process
// has run on its CPU meanwhile, and the sequence's thread has not moved. Some kernels forget just
// that. It takes some milliseconds, since one thread has to spin until the scheduler prefers the
// other.
//
// A signal restarts a sequence, too. One that comes right behind the other thread could hide a
// kernel's error, so several rounds must agree.
//
// sleep is sys.SleepAndStore. Above limit the self-test gives up.
func selfTestPreemption(limit time.Duration, sleep sleepFunc) (err error) {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	cpu, err := register()
	if err != nil {
		return err
	}
	restore, err := sys.Pin([]int{cpu})
	if err != nil {
		return fmt.Errorf("self-test of preemption: %w", err)
	}
	defer func() { err = errors.Join(err, restore()) }()
	const rounds, longest = 3, 100 * time.Millisecond
	deadline := time.Now().Add(limit)
	d := time.Millisecond
	for restarted := 0; restarted < rounds; {
		again, err := interrupted(cpu, func(word *uint64) error { return sleep(word, d) })
		switch {
		case err != nil:
			return err
		case again:
			restarted++
		case time.Now().After(deadline):
			return errNoTurn
		default:
			// The other thread had slept before the sequence began. With one P, Go's sysmon may
			// take 10 ms to find that a thread in a system call has it.
			d = min(2*d, longest)
		}
	}
	return nil
}

// interrupted spins on the CPU, to which the calling thread is pinned, while another thread sleeps
// there and then runs. It reports whether the kernel has restarted the sequence. The error is
// errGoesOn if it has let the sequence go on. Neither result says anything if the other thread ran
// in between two sequences.
//
// The other thread stores its word in the kernel, and so needs no P of Go's: there may be one only,
// which the goroutine that spins has.
func interrupted(cpu int, sleep func(word *uint64) error) (restarted bool, err error) {
	word := new(uint64)
	ready, done := make(chan struct{}), make(chan error, 1)
	go func() {
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		restore, err := sys.Pin([]int{cpu})
		close(ready)
		if err == nil {
			err = errors.Join(sleep(word), restore())
		}
		done <- err
	}()
	<-ready
	const looks = 1 << 22 // some milliseconds
	for atomic.LoadUint64(word) == 0 && len(done) == 0 {
		left, begun := spin(word, looks)
		switch {
		case left == spinLate:
			restarted = begun > 1
		case left > 0:
			err = errGoesOn
		}
	}
	if failed := <-done; failed != nil {
		err = errors.Join(err, fmt.Errorf("self-test of preemption: %w", failed))
	}
	return restarted, err
}
