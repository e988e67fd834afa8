package slub

import (
	"errors"
	"testing"

	"github.com/slubd/slubd/arena"
	"github.com/slubd/slubd/internal/mem"
)

// TestLimitOfArenaBelowGroup: where the arena is short and not the group, the arena's round helps,
// and an allocation that meets all three limits in turn starts one round for each.
func TestLimitOfArenaBelowGroup(t *testing.T) {
	a := newArena(t, arena.Config{Limit: 2 * mib})
	parent := newGroup(t, GroupConfig{Limit: 4 * mib})
	g := newGroup(t, GroupConfig{Limit: 3 * mib, Parent: parent})
	outside := open(t, a, Config{Size: 512})
	c := open(t, a, Config{Size: 1024, Group: g})
	freeAllBy(outside.Free, fillArena(t, outside))
	ps := fillArena(t, c)
	if len(ps) < mib/1024 {
		t.Errorf("%d objects", len(ps))
	}
	_, err := c.Alloc()
	if errors.Is(err, ErrGroupLimit) || !errors.Is(err, arena.ErrLimit) || g.Stats().Rounds+parent.Stats().Rounds != 0 {
		t.Errorf("%v; %+v, %+v", err, g.Stats(), parent.Stats())
	}
	freeAllBy(c.Free, ps)

	attempts := []*Group{g, parent, nil, g, parent, nil}
	tried := 0
	fail := func() error { // the reasons that attempts fail for, in turn
		level := attempts[min(tried/2, len(attempts)-1)]
		tried++
		if level == nil {
			return ErrNoMemory
		}
		return g.refusal(level, mem.PageSize)
	}
	arenaRounds := a.Stats().Reclaim.Rounds
	if err := relieve(fail(), g, a, mem.PageSize, nil, fail); err == nil {
		t.Error("it has succeeded")
	}
	if x, y, z := g.Stats().Rounds, parent.Stats().Rounds, a.Stats().Reclaim.Rounds-arenaRounds; x > 1 || y > 1 || z > 1 || x+y+z < 2 {
		t.Errorf("%d, %d and %d rounds", x, y, z)
	}
}

// TestGroupRoundWaitsForArena: what a round of the arena has in hand is neither kept nor free. A
// round of a group tries again after it.
func TestGroupRoundWaitsForArena(t *testing.T) {
	a := newArena(t, arena.Config{})
	g := newGroup(t, GroupConfig{Limit: mib})
	begun, release, ended := make(chan struct{}), make(chan struct{}), make(chan struct{})
	go func() {
		defer close(ended)
		a.Reclaim(1, func() int { close(begun); <-release; return 0 }, func() bool { return false })
	}()
	<-begun
	attempts := 0
	err := relieve(g.refusal(g, 1), g, a, 1, nil, func() error {
		if attempts++; attempts == 1 {
			return g.refusal(g, 1)
		}
		return nil
	})
	close(release)
	<-ended
	if err != nil {
		t.Errorf("after %d attempts: %v", attempts, err)
	}
}

// TestGroupRoundsTakeTurns: the parent's round takes a child's turn while it asks the child's
// caches, and gives up on it after a while.
func TestGroupRoundsTakeTurns(t *testing.T) {
	a := newArena(t, arena.Config{})
	parent := newGroup(t, GroupConfig{Limit: mib})
	g := newGroup(t, GroupConfig{Parent: parent})
	member := func(give func()) *groupMember {
		m := &groupMember{giveBack: func() int { give(); return 0 }}
		g.admit()
		g.join(m)
		return m
	}
	asked := 0
	m := member(func() {
		if asked++; g.round.Take() {
			t.Error("the child's turn is free while the child is asked")
			g.round.Give()
		}
	})
	round := func() {
		refuse := func() error { return g.refusal(parent, 1) }
		if err := relieve(refuse(), g, a, 1, nil, refuse); !errors.Is(err, ErrGroupLimit) {
			t.Error(err)
		}
	}
	if round(); asked != 1 {
		t.Errorf("asked %d times", asked)
	}
	if !g.round.Take() || !parent.round.Take() {
		t.Fatal("a turn was not given back")
	}
	parent.round.Give()
	if round(); asked != 1 {
		t.Error("asked while another round has the turn")
	}
	g.round.Give()
	g.leave(m)

	// An allocation that has waited in vain tries once more.
	tries := 0
	if !parent.round.Take() {
		t.Fatal("a turn was not given back")
	}
	err := relieve(g.refusal(parent, 1), g, a, 1, nil, func() error { tries++; return nil })
	if parent.round.Give(); err != nil || tries != 1 {
		t.Errorf("after a round that does not end: %d tries, %v", tries, err)
	}

	// A destructor or hook that panics leaves no turn taken.
	m = member(func() { panic("in a round") })
	func() {
		defer func() { _ = recover() }()
		round()
		t.Error("no panic")
	}()
	g.leave(m)
	if !g.round.Take() || !parent.round.Take() {
		t.Fatal("a turn was not given back")
	}
	parent.round.Give()
	g.round.Give()
}
