// Package text words figures for people: in the texts of errors and reports, where a
// number stands before a noun and a time was measured to the nanosecond.
//
// It imports nothing of the module; every package may import it. Not allowed: a call on
// the path of an operation that succeeds.
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

// Objects is Count of the noun that most texts are about.
func Objects[N ~int | ~int64 | ~uint32 | ~uint64 | ~uintptr](n N) string {
	return Count(n, "object", "objects")
}

// Round leaves three digits of a duration, as many as anybody reads: 1.234567s is 1.23s.
func Round(d time.Duration) time.Duration {
	unit := time.Duration(1)
	for d/unit >= 1000 || d/unit <= -1000 {
		unit *= 10
	}
	return d.Round(unit)
}
