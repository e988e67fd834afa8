package arena

import "github.com/slubd/slubd/internal/mem"

// Split makes a run that the caller has allocated runs of one page each, whose Meta records are
// zero. They have no owner, and are freed one by one. No other goroutine knows the run yet. It
// takes the zone's lock for as long as it takes to write a byte for each page. For allocators.
// (Kernel: split_page.)
func (a *Arena) Split(run Run) {
	a.runs.Add(int64(run.Pages) - 1) // first: the sum is never less than the number of runs
	end := run.Page + run.Pages
	for page := run.Page; page < end; page++ {
		mem.Zero(a.pages.meta(page), metaSize)
	}
	z := a.zoneOf(run.Page)
	z.mu.Lock()
	defer z.mu.Unlock()
	for page := run.Page; page < end; page++ {
		z.pages.mark(page, 0, used)
	}
	z.runs += run.Pages - 1
}
