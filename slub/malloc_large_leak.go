package slub

import "github.com/slubd/slubd/slub/internal/debug"

// A largeLeaks lists the large objects that are in use, and says which calls have allocated them:
// those of the ones that the profile has sampled, and all in debug Buckets with the letter U.
type largeLeaks struct {
	out     addressList
	sampled sampledLeaks
	tracked debugLeaks
}

func (l *largeLeaks) String() string { return l.out.String() + l.sampled.String() + l.tracked.String() }

// listLarge returns the large objects that are in use.
func (b *Buckets) listLarge() *largeLeaks {
	var addrs []uintptr
	for head, word := range b.arena.Runs() {
		if word.ID() == b.id && !word.HasFlags() {
			addrs = append(addrs, b.arena.Addr(head)+b.large.lead)
		}
	}
	b.large.mu.Lock()
	for addr, state := range b.large.mine {
		if state.inUse {
			addrs = append(addrs, addr)
		}
	}
	b.large.mu.Unlock()
	out := new(largeLeaks)
	for _, addr := range addrs {
		out.out.add(addr)
		out.sampled.add(addr)
		if d := b.large.debug; d != nil && d.has(debug.Users) {
			out.tracked.addCall(d.allocatedBy(addr))
		}
	}
	return out
}

// allocatedBy returns what was kept of the call that has allocated the object at addr.
func (d *debugLarge) allocatedBy(addr uintptr) (allocated debug.Track) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if u, ok := d.objs[addr]; ok {
		layout := d.layoutOf(u.l)
		allocated, _ = layout.Tracks(addr)
	}
	return allocated
}
