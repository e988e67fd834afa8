package arena

// idle tells how many of a zone's dirty pages nobody has needed for
// Config.Decay: the least number of them that there was at any time since. Those
// could have been the kernel's all along, without a fault more.
//
// It counts pages instead of asking each block how long it has lain there, as
// blocks don't keep: one page that comes and goes splits a block of 4 MiB and
// merges it again, and would make all of it look young for ever. Which block
// goes then is another matter, see zone.detachIdle.
//
// Guarded by the zone's mu.
type idle struct {
	low  uint32        // least dirty pages in this tick, and never more than there are now
	past [ticks]uint32 // the same of the ticks before, less what was discarded since
	next int           // index of the oldest in past
}

// ticks is the number of parts that Decay is divided into. So an idle page is discarded after Decay
// and at most 1/8 more.
const ticks = 8

// noteTaken notes that pages were taken for a run, and how many dirty ones are left.
func (i *idle) noteTaken(dirty uint32) { i.low = min(i.low, dirty) }

// noteDiscarded notes that n pages go to the kernel, for whatever reason: they are no longer among
// those that were idle.
func (i *idle) noteDiscarded(n uint32) {
	i.low -= min(i.low, n)
	for k := range i.past {
		i.past[k] -= min(i.past[k], n)
	}
}

// tick ends a tick, at the end of which there are that many dirty pages.
func (i *idle) tick(dirty uint32) {
	i.past[i.next] = i.low
	i.next = (i.next + 1) % ticks
	i.low = dirty
}

// idlePages is the number of dirty pages that are idle.
func (i *idle) idlePages() uint32 {
	n := i.low
	for _, past := range i.past {
		n = min(n, past)
	}
	return n
}
