//go:build race

package arena

import (
	"strings"
	"sync"
	"testing"

	"github.com/slubd/slubd/internal/testutil"
)

// The range of race builds is on the Go heap, so that the detector reports a race on memory of a
// run, and a write after Free that races with the discard.
func TestDetectorSeesTheRange(t *testing.T) {
	for name, races := range map[string]func(a *Arena, run Run){
		"two writers": func(a *Arena, run Run) {
			var wg sync.WaitGroup
			for range 2 {
				wg.Go(func() { words(a, run)[5]++ })
			}
			wg.Wait()
			a.Free(run.Page)
		},
		"write after free": func(a *Arena, run Run) {
			var wg sync.WaitGroup
			a.Free(run.Page)
			wg.Go(func() { words(a, run)[5]++ })
			wg.Go(func() { a.Purge(0) })
			wg.Wait()
		},
	} {
		t.Run(name, func(t *testing.T) {
			out, isChild, err := testutil.Rerun(t)
			if isChild {
				a := open(t, Config{})
				races(a, alloc(t, a, 0, 0))
				return
			}
			if err == nil || !strings.Contains(out, "DATA RACE") {
				t.Errorf("no report: %v\n%s", err, out)
			}
		})
	}
}
