// Package text formats figures for the texts of errors and reports: numbers before nouns, and
// durations without needless digits.
//
// It imports nothing of the module; every package may import it. Operations that succeed must not
// call it, since it allocates.
package text

import (
	"fmt"
	"time"
)

// Count puts a number before its noun: "1 object", "2 objects", "0 sheaves".
func Count[N ~int | ~int64 | ~uint32 | ~uint64 | ~uintptr](n N, one, many string) string {
	if n == 1 {
		return "1 " + one
	}
	return fmt.Sprintf("%d %s", n, many)
}

// Objects is Count for objects, the noun of most texts.
func Objects[N ~int | ~int64 | ~uint32 | ~uint64 | ~uintptr](n N) string {
	return Count(n, "object", "objects")
}

// Round rounds a duration to three digits: 1.234567s becomes 1.23s.
func Round(d time.Duration) time.Duration {
	unit := time.Duration(1)
	for d/unit >= 1000 || d/unit <= -1000 {
		unit *= 10
	}
	return d.Round(unit)
}
