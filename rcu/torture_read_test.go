package rcu

import (
	"math/rand/v2"
	"runtime"

	"github.com/slubd/slubd/internal/percpu"
	"github.com/slubd/slubd/internal/sys"
)

// A guard is a reader's way of saying when it holds elements.
type guard interface {
	// enter begins a section, exit ends it: in between the caller holds elements. Both may take
	// milliseconds.
	enter(*rand.Rand)
	exit(*rand.Rand)
	// close is called after the last exit.
	close()
}

// read makes sections of up to eight look-ups each, until it has made the given number of look-ups.
func (tt *torture) read(g guard, rng *rand.Rand, lookups int) {
	defer g.close()
	var held []*element
	for lookups > 0 && !tt.stop.Load() {
		g.enter(rng)
		for held = held[:0]; ; {
			held = append(held, tt.current.Load())
			randomDelay(rng)
			tt.inspect(held)
			if lookups--; len(held) == 8 || rng.IntN(4) > 0 {
				break
			}
		}
		g.exit(rng)
	}
}

// registeredReader is the guard of a registered reader.
type registeredReader struct {
	d *Domain
	r *Reader
}

func (m *registeredReader) enter(*rand.Rand) {
	if m.r == nil {
		m.r = m.d.Register("torture")
	}
	m.r.Online()
	m.r.Lock()
}

// exit reports, goes offline for a while or until the next enter, hands the reader on to another
// goroutine, which reports, or closes the reader and waits.
func (m *registeredReader) exit(rng *rand.Rand) {
	m.r.Unlock()
	switch n := rng.IntN(256); {
	case n < 2:
		m.close()
		randomDelay(rng)
	case n < 4:
		reported := make(chan struct{})
		m.r.Offline()
		go func() {
			defer close(reported)
			m.r.Online()
			m.r.Quiescent()
			m.r.Offline()
		}()
		<-reported
	case n < 32:
		m.r.Offline()
		randomDelay(rng)
	default:
		m.r.Quiescent()
	}
}

func (m *registeredReader) close() {
	_ = m.r.Close() // always nil
	m.r = nil
}

// sectionsOfReader is the guard of a registered reader that calls Enter and Exit.
type sectionsOfReader struct {
	d *Domain
	r *Reader
}

// enter begins a section, sometimes inside another one or while the reader is online.
func (m *sectionsOfReader) enter(rng *rand.Rand) {
	if m.r == nil {
		m.r = m.d.Register("torture")
		m.r.Offline()
	}
	m.r.Enter()
	if rng.IntN(16) == 0 {
		randomDelay(rng)
		m.r.Enter()
		m.r.Exit()
	}
}

// exit exits, on a random CPU at times, or closes the reader and waits.
func (m *sectionsOfReader) exit(rng *rand.Rand) {
	switch n := rng.IntN(512); {
	case n < 2:
		m.r.Exit()
		m.close()
		randomDelay(rng)
	case n < 4:
		onCPU(rng.IntN(percpu.NumCPU()), m.r.Exit)
	default:
		m.r.Exit()
	}
}

func (m *sectionsOfReader) close() {
	_ = m.r.Close() // always nil
	m.r = nil
}

// sectionReader is the guard of a reader that calls Enter and Exit.
type sectionReader struct {
	d       *Domain
	section Section
}

// enter begins a section, sometimes inside another one that ends earlier.
func (v *sectionReader) enter(rng *rand.Rand) {
	if rng.IntN(16) > 0 {
		v.section = v.d.Enter()
		return
	}
	outer := v.d.Enter()
	randomDelay(rng)
	v.section = v.d.Enter()
	outer.Exit()
}

// exit exits, or has another goroutine exit on a random CPU.
func (v *sectionReader) exit(rng *rand.Rand) {
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

func (v *sectionReader) close() {}

// onCPU runs f on the given CPU or, if the process must not use that one, anywhere.
func onCPU(cpu int, f func()) {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	if restore, err := sys.Pin([]int{cpu}); err == nil {
		defer restore() // fails only if the CPU is no longer there
	}
	f()
}
