package debug

import (
	"math/rand/v2"
	"testing"
)

// A sealed word gives its number back, and does not fit when one of its quarters has any other
// value, nor when bytes are written over all of it as overruns write them.
func TestSeal(t *testing.T) {
	numbers := []uint64{0, 1, 64, 1 << 20, 1<<48 - 1}
	for range 20 {
		numbers = append(numbers, rand.Uint64N(1<<48))
	}
	for _, n := range numbers {
		w := seal(n)
		if got, ok := unseal(w); got != n || !ok {
			t.Fatalf("%#x reads %#x, %t", n, got, ok)
		}
		for quarter := 0; quarter < 64; quarter += 16 {
			for change := uint64(1); change < 1<<16; change++ {
				if _, ok := unseal(w ^ change<<quarter); ok {
					t.Fatalf("%#x, changed by %#x at bit %d, fits", w, change, quarter)
				}
			}
		}
	}
	for b := range uint64(256) {
		if _, ok := unseal(b * 0x0101010101010101); ok {
			t.Errorf("eight bytes %#x fit", b)
		}
	}
}
