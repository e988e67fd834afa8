package slub

import (
	"context"
	"errors"
	"fmt"

	"github.com/slubd/slubd/internal/callback"
	"github.com/slubd/slubd/internal/lock"
	"github.com/slubd/slubd/internal/text"
)

// Close waits for grace periods, as Cache.Close does, and closes the caches. From then on
// allocations return ErrClosed. Objects in use stay valid and may still be freed; the error,
// which wraps ErrBusy, counts them, and Close may be called again. If the error only wraps what
// debug caches have found, the Buckets are closed. A nil *Buckets is closed already.
func (b *Buckets) Close() error { return b.CloseContext(context.Background()) }

// CloseContext is Close with a deadline; see Cache.CloseContext.
func (b *Buckets) CloseContext(ctx context.Context) error {
	if b == nil {
		return nil
	}
	if callback.Inside() {
		return b.inCallback()
	}
	if err := lock.Context(ctx, &b.closeMu); err != nil {
		return fmt.Errorf("slub: buckets %q: another Close is under way: %w", b.config.name(), err)
	}
	defer b.closeMu.Unlock()
	if err := b.barrier(ctx); err != nil {
		return err
	}
	if err := b.pages.close(ctx); err != nil {
		return fmt.Errorf("slub: buckets %q: a cache is being made: %w", b.config.name(), err)
	}
	b.closed.Store(true)
	ofCaches := b.closeCaches(ctx)
	var err error
	if e := b.freeQueue.Close(ctx); e != nil {
		err = errors.Join(err, fmt.Errorf("slub: buckets %q: %w", b.config.name(), e))
	}
	for again := true; again; again = b.large.deferred.pending.Load() > 0 { // what a hook has given
		if e := b.drainLargeWait(ctx); e != nil {
			err = errors.Join(err, fmt.Errorf("slub: buckets %q: %w", b.config.name(), e))
			break
		}
	}
	ofCaches = errors.Join(ofCaches, b.closeLarge())
	if n := b.large.inUse.Load(); n > 0 {
		err = errors.Join(err, fmt.Errorf("%w: buckets %q: %s larger than %d bytes, %s in all:%s",
			ErrBusy, b.config.name(), text.Objects(n), maxClass, text.Count(b.large.bytes.Load(), "byte", "bytes"), b.listLarge()))
	}
	if err == nil && b.finished() {
		if b.reclaimer != nil {
			b.arena.RemoveReclaimer(b.reclaimer)
			b.config.Group.leave(b.member)
			b.reclaimer = nil
			b.lease.end()
			b.accounted.end()
		}
		allBuckets.remove(b)
	}
	return errors.Join(ofCaches, err)
}

// finished reports whether all caches are closed. The Close of a debug cache that has found what
// was overwritten returns an error even so.
func (b *Buckets) finished() bool {
	for c := range b.all() {
		c.closeMu.Lock()
		finished := c.finished
		c.closeMu.Unlock()
		if !finished {
			return false
		}
	}
	return true
}

func (b *Buckets) closeCaches(ctx context.Context) error {
	var errs []error
	for c := range b.all() {
		errs = append(errs, c.closeContext(ctx))
	}
	return errors.Join(errs...)
}
