package lock

import (
	"context"
	"sync"
	"time"
)

// A Turn is a lock for rounds of work that call functions of the user's. A caller waits for it no
// longer than MaxWait, since the holder may be such a function's own caller. Any goroutine may call
// the methods, and Give only while the turn is taken. NewTurn makes one that is not taken.
type Turn chan struct{}

// MaxWait is far longer than a round of a healthy program takes.
const MaxWait = 100 * time.Millisecond

// Soon is Context with MaxWait: it locks mu and reports true, or false if it has waited for MaxWait
// in vain. It is for a round that wants what the holder has in hand.
func Soon(mu *sync.Mutex) bool {
	ctx, cancel := context.WithTimeout(context.Background(), MaxWait)
	defer cancel()
	return Context(ctx, mu) == nil
}

// NewTurn returns a Turn that is not taken.
func NewTurn() Turn { return make(Turn, 1) }

// TryTake takes the turn, without waiting, and reports whether it has.
func (t Turn) TryTake() bool {
	select {
	case t <- struct{}{}:
		return true
	default:
		return false
	}
}

// Take takes the turn, and reports false if it has waited for MaxWait in vain.
func (t Turn) Take() bool {
	if t.TryTake() {
		return true
	}
	wait := time.NewTimer(MaxWait)
	defer wait.Stop()
	select {
	case t <- struct{}{}:
		return true
	case <-wait.C:
		return false
	}
}

// Taken reports whether the turn is taken.
func (t Turn) Taken() bool { return len(t) > 0 }

// Give ends the turn.
func (t Turn) Give() { <-t }
