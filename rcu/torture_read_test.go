package rcu

import (
	"math/rand/v2"
	"runtime"

	"github.com/slubd/slubd/internal/percpu"
)

// A guard is one reader's way of saying whether it may hold something.
type guard interface {
	// enter begins a section, leave ends it: in between the caller holds
	// elements. Both may take their time.
	enter(*rand.Rand)
	leave(*rand.Rand)
	// close is called after the last leave.
	close()
}

// read goes through sections of up to eight look-ups each, until it has done so
// many.
func (tt *torture) read(g guard, rng *rand.Rand, lookups int) {
	defer g.close()
	var held []*element
	for lookups > 0 && !tt.stop.Load() {
		g.enter(rng)
		for held = held[:0]; ; {
			held = append(held, tt.current.Load())
			dawdle(rng)
			tt.inspect(held)
			if lookups--; len(held) == 8 || rng.IntN(4) > 0 {
				break
			}
		}
		g.leave(rng)
	}
}

// member is a registered reader.
type member struct {
	d *Domain
	r *Reader
}

func (m *member) enter(*rand.Rand) {
	if m.r == nil {
		m.r = m.d.Register("torture")
	}
	m.r.Online()
	m.r.Lock()
}

// leave reports, goes offline for a while or for the next enter to end, hands
// the reader to another goroutine, or leaves the domain.
func (m *member) leave(rng *rand.Rand) {
	m.r.Unlock()
	switch n := rng.IntN(256); {
	case n < 2:
		m.close()
		dawdle(rng)
	case n < 4:
		reported := make(chan struct{})
		go func() {
			defer close(reported)
			m.r.Quiescent()
		}()
		<-reported
	case n < 32:
		m.r.Offline()
		dawdle(rng)
	default:
		m.r.Quiescent()
	}
}

func (m *member) close() {
	_ = m.r.Close() // always nil
	m.r = nil
}

// visitor is a reader that enters and exits.
type visitor struct {
	d       *Domain
	section Section
}

// enter begins a section, now and then inside another one that ends earlier.
func (v *visitor) enter(rng *rand.Rand) {
	if rng.IntN(16) > 0 {
		v.section = v.d.Enter()
		return
	}
	outer := v.d.Enter()
	dawdle(rng)
	v.section = v.d.Enter()
	outer.Exit()
}

// leave exits, or has another goroutine do so on a CPU of its own choice.
func (v *visitor) leave(rng *rand.Rand) {
	if rng.IntN(512) > 0 {
		v.section.Exit()
		return
	}
	exited := make(chan struct{})
	go func() {
		defer close(exited)
		onCPU(rng.IntN(percpu.NumCPU()), v.section.Exit)
	}()
	<-exited
}

func (v *visitor) close() {}

// onCPU runs f on that CPU or, if the process has no use of it, anywhere.
func onCPU(cpu int, f func()) {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	if restore, err := percpu.Pin([]int{cpu}); err == nil {
		defer restore() // fails only if the CPU has gone
	}
	f()
}
