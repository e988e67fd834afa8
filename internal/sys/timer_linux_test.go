package sys

import (
	"sync/atomic"
	"testing"
	"time"
)

// TestSleepAndStore: the word is stored by the time the call returns, and the call returns.
func TestSleepAndStore(t *testing.T) {
	for range 3 {
		word := new(uint64)
		if err := SleepAndStore(word, time.Microsecond); err != nil {
			t.Fatal(err)
		}
		if atomic.LoadUint64(word) == 0 {
			t.Error("nothing was stored")
		}
	}
}
