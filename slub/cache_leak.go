package slub

import (
	"fmt"
	"strings"

	"github.com/slubd/slubd/internal/text"
)

// What Close reports about objects that were not freed.

// maxListed is the largest number of leaked objects, or of names, that an error lists: enough to
// start a search, short enough for a log.
const maxListed = 8

// An addressList is the list of object addresses in an error's text.
type addressList struct {
	n     int // addresses added
	first strings.Builder
}

func (l *addressList) add(addr uintptr) {
	if l.n++; l.n <= maxListed {
		fmt.Fprintf(&l.first, " %#x", addr)
	}
}

// String returns the first maxListed addresses, with a space before each.
func (l *addressList) String() string {
	if l.n > maxListed {
		return l.first.String() + " ..."
	}
	return l.first.String()
}

// closeRetries is how often Close looks again, once a millisecond, while there are slabs but no
// objects in use: a free on another goroutine is just giving a slab back. It is bounded for
// programs that have freed an object twice, whose slabs count wrong.
const closeRetries = 1000

// leak returns an error that lists the objects in use, or nil if there are none. With last set it
// also fails if only slabs are left.
func (c *Cache) leak(last bool) error {
	damaged := c.damaged()
	var out addressList
	var sampled sampledLeaks
	var tracked debugLeaks
	for obj := range c.slabs.InUse() {
		if tracked.lost(c, obj) {
			continue
		}
		out.add(obj)
		sampled.add(obj)
		tracked.add(c, obj)
	}
	switch {
	case damaged != nil && out.n == 0:
		return fmt.Errorf("%w: cache %q: %w", ErrBusy, c.name, damaged)
	case out.n == 0 && tracked.cutOff > 0:
		return fmt.Errorf("%w: cache %q: no object is, but %s", ErrBusy, c.name, tracked.lostText(""))
	case out.n == 0 && !last:
		return nil
	case out.n == 0:
		return fmt.Errorf("%w: cache %q: no object is, but slabs are not back", ErrBusy, c.name)
	}
	err := fmt.Errorf("%w: cache %q: %s of %s:%s%s%s%s%s%s", ErrBusy, c.name, text.Objects(out.n),
		text.Count(c.config.Size, "byte", "bytes"), &out, c.onLoan(out.n), c.inLocals(out.n), caches.closedAliases(c), &sampled, &tracked)
	if damaged != nil {
		err = fmt.Errorf("%w; %w", err, damaged)
	}
	return err
}

// onLoan returns a text about prefilled sheaves. Their objects are in use like all others, and
// among the count objects of the text before. Close comes after the last use, so all figures are of
// one moment.
func (c *Cache) onLoan(count int) string {
	if c.sheaves == nil {
		return ""
	}
	s := c.sheaves.Stats()
	if s.Loans == 0 {
		return ""
	}
	lent := int(s.Lent)
	verb := "were"
	if s.Loans == 1 {
		verb = "was"
	}
	return fmt.Sprintf("; of these Prefill has lent %d, in %s that %s not returned", min(count, lent),
		text.Count(s.Loans, "sheaf", "sheaves"), verb)
}

// inLocals returns a text about Locals that hold objects, as onLoan does about prefilled sheaves.
func (c *Cache) inLocals(count int) string {
	locals, objects := c.locals.holders()
	if objects == 0 {
		return ""
	}
	verb := "were"
	if locals == 1 {
		verb = "was"
	}
	return fmt.Sprintf("; of these %d are held by %s that %s not closed", min(count, objects),
		text.Count(locals, "Local", "Locals"), verb)
}
