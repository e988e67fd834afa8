package sheaves

import (
	"slices"
	"unsafe"

	"github.com/slubd/slubd/internal/percpu"
)

// AppendFree appends the free objects in the CPUs' main and spare sheaves and in the barns' full
// ones to dst, for a report. Those that wait for a grace period are not among them, nor are those
// of the CPUs once Close has begun. A CPU that holds objects is interrupted once, and its
// operations take their slow paths while the objects are copied; a barn's mutex is held as long.
// What operations move meanwhile may be there twice. It is missing if it was moved more than once,
// or is on its way to or from the Source. Any goroutine.
func (s *Set) AppendFree(dst []unsafe.Pointer) []unsafe.Pointer {
	at := s.reclaiming.enter() // as in FlushCPU: Close frees the stacks
	defer s.reclaiming.leave(at)
	if s.closed.Load() {
		return s.appendFull(dst)
	}
	// The barns come before and after the CPUs: a sheaf that goes from one to the other is found.
	dst = s.appendFull(dst)
	s.all(func(c *cpuSheaves) {
		for cpu := range c.slots.CPUs() {
			if !c.unused(cpu, percpu.Main) {
				dst = c.appendFree(dst, cpu)
			}
		}
	})
	return s.appendFull(dst)
}

// appendFree is AppendFree for one CPU. Memory is allocated before the lock is taken.
func (c *cpuSheaves) appendFree(dst []unsafe.Pointer, cpu int) []unsafe.Pointer {
	for {
		now := c.slots.Snapshot(cpu, percpu.Main)
		if now.Size == 0 && now.Spare == 0 {
			return dst
		}
		dst = slices.Grow(dst, 2*c.set.Capacity()+now.Size+now.Spare)
		st := c.slots.LockCPU(cpu, percpu.Main)
		parts := [2][]unsafe.Pointer{st.Objects()[:st.Size()]}
		if spare := sheafOf(st.Spare); spare != nil {
			parts[1] = spare.objects()
		}
		fits := len(parts[0])+len(parts[1]) <= cap(dst)-len(dst)
		if fits {
			dst = append(append(dst, parts[0]...), parts[1]...)
		}
		c.unlock(st)
		if fits {
			return dst
		}
	}
}

// appendFull appends the objects in the barns' full sheaves. Memory is allocated before a barn's
// mutex is taken, for which allocations and frees of other goroutines could wait.
func (s *Set) appendFull(dst []unsafe.Pointer) []unsafe.Pointer {
	for i := range s.barns {
		b := &s.barns[i]
		for {
			var fits bool
			if dst, fits = b.appendFull(dst); fits {
				break
			}
			dst = slices.Grow(dst, 2*(cap(dst)-len(dst))+2*s.Capacity())
		}
	}
	return dst
}

// appendFull appends the objects in the barn's full sheaves, if dst has room for all.
func (b *barn) appendFull(dst []unsafe.Pointer) (_ []unsafe.Pointer, fits bool) {
	b.mu.Lock()
	defer b.unlock()
	n := 0
	b.full.all(func(sh *sheaf) { n += len(sh.objects()) })
	if n > cap(dst)-len(dst) {
		return dst, false
	}
	b.full.all(func(sh *sheaf) { dst = append(dst, sh.objects()...) })
	return dst, true
}
