package slub

import (
	"math"
	"runtime"

	"github.com/slubd/slubd/internal/invariants"
	"github.com/slubd/slubd/internal/mem"
)

// SetLimit changes the bound to n bytes; 0 is automatic, None lets nothing more be allocated, as in
// AccountConfig. If more is charged than that, objects in use stay, and Malloc fails with
// ErrAccountLimit until enough is free. An Account takes bytes from its Parent before it needs
// them: those that the new bound does not allow go back. After Close SetLimit changes what Limit
// returns, and nothing else.
//
// Only the goroutine that may call Malloc may call SetLimit: Malloc would need atomic operations if
// another one changed what it may use. SetLimit costs some atomic operations. (Kernel: a write to
// memory.max.)
func (a *Account) SetLimit(n int64) {
	if invariants.Enabled {
		defer a.state.use()()
	}
	a.state.setLimit(limitOrUnlimited(n))
	runtime.KeepAlive(a)
}

// limitOrUnlimited returns the bound in bytes that a user's number stands for.
func limitOrUnlimited(n int64) int64 {
	switch {
	case n == 0:
		return Unlimited
	case n < 0:
		return 0
	}
	return n
}

// setLimit is SetLimit with a bound in bytes.
//
// The short path of Malloc knows no limit: whatever is room may be used. So the rule is
//
//	granted <= limit, or room = 0 between two operations of the Account's goroutine
//
// and a limit below granted takes room away, all of it if that is not enough. As long as it is not,
// mostRoom is 0: each Free that makes room then goes to giveRoom, and Malloc, which has no room,
// goes to charge. Both take away what the limit does not allow. So Malloc and Free are what they
// are for an Account whose limit never changes. Only the Account's goroutine writes limit, room and
// mostRoom. Another one that moves bytes makes granted smaller, which does not break the rule.
func (s *accountState) setLimit(limit int64) {
	s.limit.Store(limit)
	if s.closed {
		return
	}
	s.giveExcess()
	if more := min(limit, notDirect-1) - s.granted.Load(); s.parent == nil && more > 0 {
		s.move(more)
	}
}

// giveExcess takes away room, and gives it to the Parent, as far as more is granted than the limit
// allows. It sets mostRoom.
func (s *accountState) giveExcess() {
	s.beginMove()
	excess := max(s.granted.Load()-s.limit.Load(), 0)
	given := min(excess, int64(s.room))
	s.granted.Add(-given)
	mem.Store64(&s.room, s.room-uint64(given))
	s.endMove()
	switch {
	case given < excess:
		s.mostRoom = 0
	case s.parent == nil:
		s.mostRoom = math.MaxInt64
	default:
		s.mostRoom = 2 * accountStep
	}
	s.parent.uncharge(given)
}

// giveRoom gives all room but a step back to the Parent, or what the limit does not allow.
func (s *accountState) giveRoom() {
	if s.mostRoom == 0 {
		if s.giveExcess(); int64(s.room) <= s.mostRoom {
			return
		}
	}
	surplus := int64(s.room) - accountStep
	s.move(-surplus)
	s.parent.uncharge(surplus)
}
