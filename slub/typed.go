package slub

import (
	"context"
	"fmt"
	"reflect"
	"unsafe"

	"github.com/slubd/slubd/arena"
	"github.com/slubd/slubd/numa"
)

// A Typed is a cache of T values. It has the methods of Cache that take or return objects,
// but for Prefill, with *T for unsafe.Pointer and at the same cost, and those that every
// program calls: Barrier, Shrink, Stats, Close. Cache gives the rest.
type Typed[T any] struct{ cache *Cache }

// NewTyped makes a cache for values of type T; cfg.Size and cfg.Align are T's if
// zero, and may be larger; so is cfg.Name, if empty, where T's has no odd characters
// such as the brackets of a generic type. Errors: ErrGoPointers with the path of the first field
// that holds one; as New.
func NewTyped[T any](a *arena.Arena, cfg Config) (*Typed[T], error) {
	t := reflect.TypeFor[T]()
	if cfg.Name == "" && validName(t.String()) {
		cfg.Name = t.String()
	}
	if path := goPointer(t, t.String()); path != "" {
		return nil, fmt.Errorf("%w: cache %q: %s", ErrGoPointers, cfg.name(), path)
	}
	if t.Size() == 0 {
		return nil, cfg.misfit("Size", "type %s has none", t)
	}
	if cfg.Size == 0 {
		cfg.Size = t.Size()
	}
	if cfg.Align == 0 {
		cfg.Align = uintptr(t.Align())
	}
	switch {
	case cfg.Size < t.Size():
		return nil, cfg.misfit("Size", "%d is less than the %d of %s", cfg.Size, t.Size(), t)
	case cfg.Align < uintptr(t.Align()):
		return nil, cfg.misfit("Align", "%d is less than the %d of %s", cfg.Align, t.Align(), t)
	}
	c, err := New(a, cfg)
	if err != nil {
		return nil, err
	}
	return &Typed[T]{c}, nil
}

// misfit is the error of a config that the type does not go with.
func (c Config) misfit(field, format string, args ...any) error {
	p := problems{of: fmt.Sprintf("cache %q", c.name()), config: "Config"}
	p.bad(field, format, args...)
	return p.errs[0]
}

// goPointer returns the path of the first part of t that the collector would have
// to follow, or "". An unsafe.Pointer counts, since it may hold one; a uintptr and a
// Ref don't.
func goPointer(t reflect.Type, path string) string {
	switch t.Kind() {
	case reflect.Array:
		if t.Len() > 0 {
			return goPointer(t.Elem(), path+"[0]")
		}
	case reflect.Struct:
		for i := range t.NumField() {
			f := t.Field(i)
			if p := goPointer(f.Type, path+"."+f.Name); p != "" {
				return p
			}
		}
	default:
		if kind := pointerKinds[t.Kind()]; kind != "" {
			if t.Name() != t.Kind().String() {
				kind += " (" + t.String() + ")"
			}
			return path + " holds " + kind
		}
	}
	return ""
}

// pointerKinds are those that the collector follows, as one speaks of them.
var pointerKinds = map[reflect.Kind]string{
	reflect.Pointer: "a pointer", reflect.UnsafePointer: "a pointer", reflect.String: "a string", reflect.Slice: "a slice",
	reflect.Map: "a map", reflect.Chan: "a channel", reflect.Func: "a function", reflect.Interface: "an interface",
}

// Cache returns the cache below.
func (t *Typed[T]) Cache() *Cache { return t.cache }

// Alloc returns a T with whatever content its last owner left; see Cache.Alloc.
func (t *Typed[T]) Alloc() (*T, error) {
	p, err := t.cache.Alloc()
	return (*T)(p), err
}

// AllocZero returns a zeroed T.
func (t *Typed[T]) AllocZero() (*T, error) {
	p, err := t.cache.AllocZero()
	return (*T)(p), err
}

// AllocNode returns a T that lies on the given node; see Cache.AllocNode.
func (t *Typed[T]) AllocNode(node numa.Node) (*T, error) {
	p, err := t.cache.AllocNode(node)
	return (*T)(p), err
}

// AllocBulk fills dst with Ts, or leaves it nil and returns an error; see Cache.AllocBulk.
func (t *Typed[T]) AllocBulk(dst []*T) error { return t.cache.AllocBulk(untyped(dst)) }

// AllocNoWait returns a T from what is at hand; see Cache.AllocNoWait.
func (t *Typed[T]) AllocNoWait() (*T, error) {
	p, err := t.cache.AllocNoWait()
	return (*T)(p), err
}

// FreeDeferred gives p back without waiting for anything; see Cache.FreeDeferred.
func (t *Typed[T]) FreeDeferred(p *T) { t.cache.FreeDeferred(unsafe.Pointer(p)) }

// Free gives p back; see Cache.Free.
func (t *Typed[T]) Free(p *T) { t.cache.Free(unsafe.Pointer(p)) }

// FreeBulk gives all of ps back, and leaves ps in another order; see Cache.FreeBulk.
func (t *Typed[T]) FreeBulk(ps []*T) { t.cache.FreeBulk(untyped(ps)) }

// untyped views pointers as what Cache takes, without a copy.
func untyped[T any](ps []*T) []unsafe.Pointer {
	return unsafe.Slice((*unsafe.Pointer)(unsafe.Pointer(unsafe.SliceData(ps))), len(ps))
}

// FreeRCU gives p back after a grace period; see Cache.FreeRCU.
func (t *Typed[T]) FreeRCU(p *T) { t.cache.FreeRCU(unsafe.Pointer(p)) }

// FreeRCUNoWait is FreeRCU where nothing may be waited for; see Cache.FreeRCUNoWait.
func (t *Typed[T]) FreeRCUNoWait(p *T) { t.cache.FreeRCUNoWait(unsafe.Pointer(p)) }

// Barrier returns when all that was given to FreeRCU before is free; see Cache.Barrier.
func (t *Typed[T]) Barrier(ctx context.Context) error { return t.cache.Barrier(ctx) }

// Shrink gives back what the cache holds without need; see Cache.Shrink.
func (t *Typed[T]) Shrink() (slabs int) { return t.cache.Shrink() }

// Stats reads the cache's counters and gauges; see Cache.Stats.
func (t *Typed[T]) Stats() Stats { return t.cache.Stats() }

// Close closes the cache; see Cache.Close.
func (t *Typed[T]) Close() error { return t.CloseContext(context.Background()) }

// CloseContext is Close as long as ctx lasts; see Cache.CloseContext.
func (t *Typed[T]) CloseContext(ctx context.Context) error {
	if t == nil {
		return nil
	}
	return t.cache.CloseContext(ctx)
}

// A Ref refers to a T off-heap as a number, so that the collector scans neither it
// nor what it is kept in: a slice of a million Refs costs a collection nothing, a
// slice of as many pointers a millisecond for every 250,000. The zero Ref is nil. Like
// the pointer, it is good until the object is freed.
type Ref[T any] struct{ addr uintptr }

// RefOf returns the Ref of an object that came from a Typed, a Cache or a
// Prefilled. The address of a Go variable must not be given to it.
func RefOf[T any](p *T) Ref[T] { return Ref[T]{uintptr(unsafe.Pointer(p))} }

// Ref returns p's Ref.
func (t *Typed[T]) Ref(p *T) Ref[T] { return RefOf(p) }

// Ptr returns the pointer, nil for the zero Ref.
func (r Ref[T]) Ptr() *T { return *(**T)(unsafe.Pointer(&r)) }

// IsNil reports whether r is the zero Ref.
func (r Ref[T]) IsNil() bool { return r.addr == 0 }
