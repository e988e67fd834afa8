package lock

import (
	"testing"
	"testing/synctest"
	"time"
)

// A turn has one holder. Take waits for it, but no longer than MaxWait.
func TestTurn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		turn, began := NewTurn(), time.Now()
		if turn.Taken() || !turn.Take() || !turn.Taken() || turn.TryTake() {
			t.Error("a turn is not taken, or is taken twice")
		}
		if turn.Take() || time.Since(began) != MaxWait {
			t.Errorf("Take has waited for %v", time.Since(began))
		}
		go func() { time.Sleep(MaxWait / 2); turn.Give() }()
		if !turn.Take() || time.Since(began) != MaxWait*3/2 {
			t.Errorf("Take has not got the turn that was given back, after %v", time.Since(began))
		}
		turn.Give()
		if turn.Taken() {
			t.Error("a turn that was given back is taken")
		}
	})
}
