package arena

import (
	"math/rand/v2"
	"slices"

	"github.com/slubd/slubd/internal/mem"
	"github.com/slubd/slubd/numa"
)

// sampleSize is the number of pages of each node that a run asks about: with that many, a run finds
// a share of a tenth with a probability of 99.9 %.
const sampleSize = 64

// sample asks where some pages in use of each node lie. It reports whether the pages on other nodes
// have become more or fewer.
func (a *Arena) sample() (changed bool) {
	o := &a.observer
	samples := make([]numa.Sample, len(a.zones))
	inUse := make([]int64, len(a.zones))
	for i := range a.zones {
		z := &a.zones[i]
		z.mu.Lock()
		bump, used := z.bump, z.used
		z.mu.Unlock()
		samples[i] = numa.Sample{Addr: a.Addr(z.first), Bytes: z.bytes(), Pages: a.pagesInUse(z, bump)}
		inUse[i] = int64(used)
	}
	for _, m := range a.mappings() {
		i := a.topo.Index(m.node)
		inUse[i] += int64(m.pages)
		samples[i].Pages = append(samples[i].Pages, m.some()...)
	}
	for i := range samples {
		s := &samples[i]
		rand.Shuffle(len(s.Pages), func(j, k int) { s.Pages[j], s.Pages[k] = s.Pages[k], s.Pages[j] })
		s.Pages = s.Pages[:min(len(s.Pages), sampleSize)]
	}
	seen, by, err := a.cfg.kernelView.observe(samples)
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.by = by; err != nil {
		o.by, o.why = "", "the kernel refuses move_pages and numa_maps"
		return false
	}
	for i := range seen {
		v := &o.nodes[i]
		before := v.elsewhere
		if by == numa.SourceNumaMaps && a.mergedMaps(i) {
			continue
		}
		v.sampled, v.elsewhere, v.misplaced = seen[i].Pages(), 0, 0
		for node, n := range seen[i] {
			if !slices.Contains(a.policy(a.zones[i].node).Nodes, node) {
				v.elsewhere += n
			}
		}
		if v.elsewhere > 0 {
			v.misplaced = max(1, inUse[i]*int64(v.elsewhere)/int64(v.sampled))
		}
		changed = changed || before != v.elsewhere && (before == 0 || v.elsewhere == 0)
	}
	return changed
}

// mergedMaps reports whether the kernel may count a zone's pages with those of the next one, or of
// the one before: it merges mappings that touch, which they do where the lower one is writable to
// its end.
func (a *Arena) mergedMaps(i int) bool {
	for k := max(0, i-1); k <= i; k++ {
		z := &a.zones[k]
		z.mu.Lock()
		full := z.writable == z.end
		z.mu.Unlock()
		if full {
			return true
		}
	}
	return false
}

// pagesInUse returns the addresses of some pages in use below bump: of a small zone all, of a
// larger one the first from each of some random places. It takes no lock, so that some may be free
// by now.
func (a *Arena) pagesInUse(z *zone, bump uint32) (addrs []uintptr) {
	const small, look = 4 * growStep, growStep
	carved := bump - z.first
	if carved <= small {
		for page := z.first; page < bump; page++ {
			if a.pages.state(page).kind() == used {
				addrs = append(addrs, a.Addr(page))
			}
		}
		return addrs
	}
	for range sampleSize {
		from := z.first + rand.Uint32N(carved)
		for page := from; page < min(from+look, bump); page++ {
			if a.pages.state(page).kind() == used {
				addrs = append(addrs, a.Addr(page))
				break
			}
		}
	}
	return addrs
}

// A span is the pages of a mapping.
type span struct {
	addr  uintptr
	pages uintptr
	node  numa.Node
}

// mappings returns the mappings with pages. Their addresses stay reserved, so that the kernel may
// be asked about them at any time.
func (a *Arena) mappings() (spans []span) {
	b := &a.big
	b.mu.Lock()
	defer b.mu.Unlock()
	add := func(m *mapping) {
		spans = append(spans, span{m.backing.base, uintptr(m.charged), m.node})
	}
	for _, m := range b.live {
		add(m)
	}
	for _, list := range b.kept {
		for _, m := range list {
			add(m)
		}
	}
	return spans
}

// some returns the addresses of some pages.
func (s span) some() (addrs []uintptr) {
	n := min(s.pages, sampleSize)
	for i := range n {
		addrs = append(addrs, s.addr+i*s.pages/n*mem.PageSize)
	}
	return addrs
}
