//go:build !race

package arena

import (
	"errors"
	"syscall"
	"testing"

	"github.com/slubd/slubd/internal/sys"
)

// A pointer into a closed arena reads zeroes, whatever became of the arenas that had its addresses
// after it, and what was never handed out can't be accessed.
func TestStalePointerReadsZero(t *testing.T) {
	forgetRanges(t)
	cfg := Config{Span: 16 * mib}
	a := open(t, cfg)
	runs := []Run{alloc(t, a, MaxOrder, 0), alloc(t, a, MaxOrder, 0)}
	for _, run := range runs {
		words(a, run)[0] = 1
		a.Free(run.Page)
	}
	if err := a.Close(); err != nil {
		t.Fatal(err)
	}
	for range 3 {
		expectParts(t, "closed", a.base, rangeEnd(a), "r--p", "---p")
		for _, run := range runs {
			if !allZero(words(a, run)) {
				t.Error("a stale pointer doesn't read zeroes")
			}
		}
		b := open(t, cfg)
		if b.Base() != a.Base() {
			t.Fatal("the next arena has other addresses")
		}
		b.Free(alloc(t, b, 0, 0).Page)
		expectParts(t, "in use again", a.base, rangeEnd(a), "rw-p", "r--p", "---p")
		if err := b.Close(); err != nil {
			t.Fatal(err)
		}
	}
}

// A range that the kernel would not reset is not used again.
func TestRefusedResetIsNotUsedAgain(t *testing.T) {
	for n := 1; n <= 5; n++ { // two parts of the range, three arrays of the page map
		forgetRanges(t)
		a := open(t, Config{})
		run := alloc(t, a, 0, 0)
		words(a, run)[0] = 1
		a.Free(run.Page)
		restore := sys.FailNth(sys.CallReplace, n, syscall.ENOMEM)
		err := a.Close()
		restore()
		if !errors.Is(err, syscall.ENOMEM) {
			t.Errorf("refusal %d: %v", n, err)
		}
		if words(a, run)[0] != 0 {
			t.Errorf("refusal %d: a stale pointer doesn't read zero", n)
		}
		if b := open(t, Config{}); b.Base() == a.Base() {
			t.Errorf("refusal %d: the range is used again", n)
		}
	}
}
