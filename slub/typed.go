package slub

import (
	"context"
	"fmt"
	"reflect"
	"unsafe"

	"github.com/slubd/slubd/arena"
	"github.com/slubd/slubd/internal/configerr"
	"github.com/slubd/slubd/numa"
)

// A Typed is a cache of T values. It has the methods of Cache that take or return objects, with *T
// in place of unsafe.Pointer and at the same cost; and Barrier, Shrink, Stats,
// Close and CloseContext. Cache returns the Cache for everything else. Any goroutine may call all
// methods; Close comes after the last use.
type Typed[T any] struct{ cache *Cache }

// NewTyped makes a cache for values of type T. Size and Align in cfg are T's if they are 0, and
// may be larger. An empty Name becomes T's, unless that has characters which a Name must not
// have, such as the brackets of a generic type.
//
// Errors: ErrGoPointers, with the path of the first field that holds a Go pointer; ErrConfig for
// a Size or Align below T's, or a T of size 0; New's.
func NewTyped[T any](a *arena.Arena, cfg Config) (*Typed[T], error) {
	t := reflect.TypeFor[T]()
	if cfg.Name == "" && validName(t.String()) {
		cfg.Name = t.String()
	}
	if path := goPointer(t, t.String()); path != "" {
		return nil, fmt.Errorf("%w: cache %q: %s", ErrGoPointers, cfg.name(), path)
	}
	if t.Size() == 0 {
		return nil, cfg.typeError("Size", "type %s has none", t)
	}
	if cfg.Size == 0 {
		cfg.Size = int64(t.Size())
	}
	if cfg.Align == 0 {
		cfg.Align = int64(t.Align())
	}
	switch {
	case cfg.Size < int64(t.Size()):
		return nil, cfg.typeError("Size", "%d is less than the %d of %s", cfg.Size, t.Size(), t)
	case cfg.Align < int64(t.Align()):
		return nil, cfg.typeError("Align", "%d is less than the %d of %s", cfg.Align, t.Align(), t)
	}
	c, err := New(a, cfg)
	if err != nil {
		return nil, err
	}
	return &Typed[T]{c}, nil
}

// typeError returns the error of a config that does not fit the type.
func (c Config) typeError(field, format string, args ...any) error {
	return configerr.New(fmt.Sprintf("slub: cache %q: Config.", c.name()), ErrConfig, field, format, args...)
}

// goPointer returns the path of the first part of t that the collector would have to follow, or
// "" if there is none. An unsafe.Pointer counts, since it may be a Go pointer; a uintptr and a
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

// pointerKinds are the kinds that the collector follows, as error texts call them.
var pointerKinds = map[reflect.Kind]string{
	reflect.Pointer: "a pointer", reflect.UnsafePointer: "a pointer", reflect.String: "a string", reflect.Slice: "a slice",
	reflect.Map: "a map", reflect.Chan: "a channel", reflect.Func: "a function", reflect.Interface: "an interface",
}

// Cache returns the underlying cache.
func (t *Typed[T]) Cache() *Cache { return t.cache }

// Alloc returns a T with the content that its last owner left; see Cache.Alloc.
func (t *Typed[T]) Alloc() (*T, error) {
	p, err := t.cache.Alloc()
	return (*T)(p), err
}

// AllocZero returns a zeroed T; see Cache.AllocZero.
func (t *Typed[T]) AllocZero() (*T, error) {
	p, err := t.cache.AllocZero()
	return (*T)(p), err
}

// AllocNode returns a T that lies on the given node; see Cache.AllocNode.
func (t *Typed[T]) AllocNode(node numa.Node) (*T, error) {
	p, err := t.cache.AllocNode(node)
	return (*T)(p), err
}

// AllocBulk fills dst with pointers to Ts, or sets them all to nil and returns an error; see
// Cache.AllocBulk.
func (t *Typed[T]) AllocBulk(dst []*T) error { return t.cache.AllocBulk(untyped(dst)) }

// AllocContext returns a T, and waits for memory until ctx ends; see Cache.AllocContext.
func (t *Typed[T]) AllocContext(ctx context.Context) (*T, error) {
	p, err := t.cache.AllocContext(ctx)
	return (*T)(p), err
}

// NewReserve puts n Ts aside; see Cache.NewReserve.
func (t *Typed[T]) NewReserve(n int) (*TypedReserve[T], error) {
	r, err := t.cache.NewReserve(n)
	if err != nil {
		return nil, err
	}
	return &TypedReserve[T]{r}, nil
}

// A TypedReserve is a Reserve of Ts.
type TypedReserve[T any] struct{ reserve *Reserve }

// Alloc returns a T, and waits for one until ctx ends; see Reserve.Alloc.
func (r *TypedReserve[T]) Alloc(ctx context.Context) (*T, error) {
	p, err := r.reserve.Alloc(ctx)
	return (*T)(p), err
}

// Free puts p aside or frees it; see Reserve.Free.
func (r *TypedReserve[T]) Free(p *T) { r.reserve.Free(unsafe.Pointer(p)) }

// Len returns how many Ts are put aside.
func (r *TypedReserve[T]) Len() int { return r.reserve.Len() }

// Close frees what is put aside; see Reserve.Close.
func (r *TypedReserve[T]) Close() { r.reserve.Close() }

// AllocNoWait returns a T if one is at hand; see Cache.AllocNoWait.
func (t *Typed[T]) AllocNoWait() (*T, error) {
	p, err := t.cache.AllocNoWait()
	return (*T)(p), err
}

// FreeDeferred frees p later, without waiting for anything now; see Cache.FreeDeferred.
func (t *Typed[T]) FreeDeferred(p *T) { t.cache.FreeDeferred(unsafe.Pointer(p)) }

// Free frees p; see Cache.Free.
func (t *Typed[T]) Free(p *T) { t.cache.Free(unsafe.Pointer(p)) }

// FreeBulk frees all of ps and leaves ps in another order; see Cache.FreeBulk.
func (t *Typed[T]) FreeBulk(ps []*T) { t.cache.FreeBulk(untyped(ps)) }

// untyped converts the type of pointers, without a copy.
func untyped[T any](ps []*T) []unsafe.Pointer {
	return unsafe.Slice((*unsafe.Pointer)(unsafe.Pointer(unsafe.SliceData(ps))), len(ps))
}

// FreeRCU frees p after a grace period; see Cache.FreeRCU.
func (t *Typed[T]) FreeRCU(p *T) { t.cache.FreeRCU(unsafe.Pointer(p)) }

// FreeRCUNoWait is a FreeRCU that never waits; see Cache.FreeRCUNoWait.
func (t *Typed[T]) FreeRCUNoWait(p *T) { t.cache.FreeRCUNoWait(unsafe.Pointer(p)) }

// FreeRCUContext is a FreeRCU that waits as long as ctx lasts; see Cache.FreeRCUContext.
func (t *Typed[T]) FreeRCUContext(ctx context.Context, p *T) {
	t.cache.FreeRCUContext(ctx, unsafe.Pointer(p))
}

// Barrier waits until everything given to FreeRCU and FreeDeferred before the call is free; see
// Cache.Barrier.
func (t *Typed[T]) Barrier(ctx context.Context) error { return t.cache.Barrier(ctx) }

// Shrink gives cached memory back and returns the number of slabs left; see Cache.Shrink.
func (t *Typed[T]) Shrink() (slabs int) { return t.cache.Shrink() }

// Stats reads the cache's counters and gauges; see Cache.Stats.
func (t *Typed[T]) Stats() Stats { return t.cache.Stats() }

// Close closes the cache; see Cache.Close.
func (t *Typed[T]) Close() error { return t.CloseContext(context.Background()) }

// CloseContext is Close with a deadline; see Cache.CloseContext. On a nil *Typed both do nothing.
func (t *Typed[T]) CloseContext(ctx context.Context) error {
	if t == nil {
		return nil
	}
	return t.cache.CloseContext(ctx)
}
