//go:build race

package slub_test

import (
	"strings"
	"sync"
	"testing"

	"github.com/slubd/slubd/internal/testutil"
	"github.com/slubd/slubd/slub"
)

// The race detector reports two goroutines that use a Local without an order between them, whether
// it is Alloc or Free that they call.
func TestLocalConfined(t *testing.T) {
	for name, use := range map[string]func(l *slub.Local){
		"Alloc":     func(l *slub.Local) { _, _ = l.Alloc() },
		"AllocZero": func(l *slub.Local) { _, _ = l.AllocZero() },
		"Free":      func(l *slub.Local) { l.Free(nil) },
		"Flush":     (*slub.Local).Flush,
		"Close":     (*slub.Local).Close,
	} {
		t.Run(name, func(t *testing.T) {
			out, isChild, err := testutil.Rerun(t)
			if isChild {
				l := newLocal(t, open(t, nil, slub.Config{Size: 64}), 0)
				var wg sync.WaitGroup
				for range 2 {
					wg.Go(func() { use(l) })
				}
				wg.Wait()
				return
			}
			if err == nil || !strings.Contains(out, "DATA RACE") {
				t.Errorf("no report: %v\n%s", err, out)
			}
		})
	}
}
