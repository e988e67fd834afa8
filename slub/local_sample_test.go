package slub

import "testing"

// The Local samples the allocation that it was armed for, however far that is, and no other.
func TestLocalIsDue(t *testing.T) {
	if sanitized {
		t.Skip("Locals hold nothing")
	}
	c := open(t, nil, Config{Size: 64, Hardened: None, ProfileRate: 1 << 50})
	l, err := c.NewLocal(0)
	same(t, "NewLocal", err, nil)
	defer l.Close()
	for _, p := range take(t, c, 10) { // or it would have to be refilled
		l.Free(p)
	}
	before := l.state.allocations()
	total := uint64(0)
	for _, n := range []uint64{1, 2, 3, 100, localMost, localMost + 1, 2*localMost + 7} {
		if n > localMost && testing.Short() {
			continue
		}
		l.state.arm(n)
		for i := uint64(1); ; i++ {
			p, err := l.Alloc()
			same(t, "Alloc", err, nil)
			sampled := c.isAlone(p)
			l.Free(p)
			if sampled != (i == n) {
				t.Fatalf("armed for allocation %d, which is sampled: %v for allocation %d", n, sampled, i)
			}
			if sampled {
				break
			}
		}
		total += n - 1
	}
	if got := l.state.allocations() - before; got != total {
		t.Errorf("the Local counts %d allocations, want %d", got, total)
	}
}

// allocations returns what the Local counts.
func (s *localState) allocations() uint64 {
	var sum LocalStats
	s.addTo(&sum)
	return sum.Allocs
}
