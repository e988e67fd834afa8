package slub

import (
	"slices"

	"github.com/slubd/slubd/arena"
)

// Before an allocation fails at the limit of a Group, the group's own caches give back what they
// keep, and nothing else is asked: not the caches of other groups, nor the arena's shrinkers. If it
// is the parent that refuses, the failing group comes first, then the parent's own caches, then the
// parent's other groups. (Kernel: try_to_free_mem_cgroup_pages.)
//
// # Waits
//
// One round of a group runs at a time, as with arena.Reclaim and for its reason: what another round
// has in hand is neither kept nor free. A round of the parent takes the turn of each child while it
// asks the child's caches, and a child's round takes no turn but its own, so groups of one parent
// don't wait for each other. The holder of a turn waits only for locks that are held for loads and
// stores, and for destructors and hooks, which must not allocate; one that does waits for at most
// lock.MaxWait. At the end a round waits for a round of the arena that is under way, since that
// may have the group's objects in hand.
//
// # What a round costs
//
// As in the arena, each member first looks, without a lock, whether it keeps anything. So a round
// that finds nothing costs some loads for each CPU and cache of the group, and what a round gives
// back is gone for the next one.

// relieve has memory given back for an allocation from a group that has failed with err, and calls
// again, which tries once more and returns nil if it succeeds. The error is the last attempt's. own
// may be nil. first gives back what the failing cache keeps, bytes is what the allocation needs.
//
// Each limit that is found to be in the way, the group's, the parent's and the arena's, is worth
// one round, and never a second one.
func relieve(err error, own *Group, a *arena.Arena, bytes int64, first func() (objects int), again func() error) error {
	var asked []*Group // nil for the arena
	for shortOfMemory(err) {
		level := refusedBy(err)
		if slices.Contains(asked, level) {
			break
		}
		asked = append(asked, level)
		if level == nil {
			// The round has done its part once it is a group that refuses.
			a.Reclaim(bytes, first, func() bool { err = again(); return err == nil || refusedBy(err) != nil })
			continue
		}
		r := groupRound{level: level, bytes: bytes, again: func() error { err = again(); return err }}
		r.run(own, a, first)
	}
	if level := refusedBy(err); level != nil {
		level.failures.Add(1)
	}
	return err
}

// A groupRound is one round of a Group.
type groupRound struct {
	level *Group // the one with the limit that is reached
	bytes int64
	again func() error
	ok    bool // the latest attempt has succeeded
}

// over tries the allocation once more. It reports whether there is nothing more to do: it has
// succeeded, or something else than the limit is in the way now.
func (r *groupRound) over() bool {
	err := r.again()
	r.ok = err == nil
	return refusedBy(err) != r.level
}

// run asks the members of the failing group, of the level that has refused, and of its children.
func (r *groupRound) run(own *Group, a *arena.Arena, first func() int) {
	g := r.level
	if r.bytes > g.limit.Load() {
		return
	}
	if !g.round.Take() {
		r.over() // the round that was waited for in vain may have given back enough
		return
	}
	defer g.round.Give()
	g.rounds.Add(1)
	// Another round may have given back enough while this one was waited for.
	_ = r.over() || r.ask(own, first) || r.askOthers(own) || a.AwaitReclaim() && r.over()
	if r.ok {
		g.helped.Add(1)
	}
}

// askOthers asks all groups of the level but own.
func (r *groupRound) askOthers(own *Group) (over bool) {
	g := r.level
	if g != own && r.ask(g, nil) {
		return true
	}
	g.mu.Lock()
	children := slices.Clone(g.children)
	g.mu.Unlock()
	for _, child := range children {
		if child != own && r.ask(child, nil) {
			return true
		}
	}
	return false
}

// ask calls first, which may be nil, and then the members of one group, and tries again whenever
// they have given back what is needed.
func (r *groupRound) ask(g *Group, first func() int) (over bool) {
	if g != r.level {
		if !g.round.Take() {
			return false
		}
		defer g.round.Give()
	}
	if first != nil && r.count(first()) && r.over() {
		return true
	}
	used, any := r.level.used.Load(), false
	g.eachMember(func(m *groupMember) (more bool) {
		if !r.count(m.giveBack()) {
			return true
		}
		any = true
		if now := r.level.used.Load(); used-now >= r.bytes {
			over = r.over()
			used, any = now, false
		}
		return !over
	})
	return over || any && r.over()
}

// count counts objects that were given back, and reports whether there are any.
func (r *groupRound) count(objects int) bool {
	if objects > 0 {
		r.level.objects.Add(uint64(objects))
	}
	return objects > 0
}
