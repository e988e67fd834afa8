package mistakes

import (
	"math/rand/v2"
	"time"
)

// Linger takes its time now and then. A mistake that shows only if others come
// between two instructions calls it there.
func Linger() {
	if rand.IntN(200) == 0 {
		time.Sleep(10 * time.Millisecond)
	}
}
