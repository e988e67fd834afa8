//go:build !(linux && amd64)

package percpu

// Func returns the operation. Without assembly that is what the trylock engine put in
// the slow path's place.
func (p *Pop) Func() PopFunc { return p.slow }

// Func is described with Pop's.
func (f *Free) Func() FreeFunc { return f.slow }

func (*Pop) pass()  {}
func (*Free) pass() {}
