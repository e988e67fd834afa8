package slub

import (
	"errors"
	"fmt"
	"math"
)

// A problem is one thing that is wrong with a Config, a BucketsConfig or an argument. It
// wraps ErrConfig.
type problem struct {
	of    string // cache "NAME" or buckets "NAME"
	field string // Config.Size, or the method whose argument it is
	wrong string // in words, with the value
}

// Error names all three.
func (p *problem) Error() string { return fmt.Sprintf("slub: %s: %s: %s", p.of, p.field, p.wrong) }

// Unwrap returns ErrConfig.
func (p *problem) Unwrap() error { return ErrConfig }

// A badField is called by what validates part of a config, with the field's name in that.
type badField func(field, format string, args ...any)

// problems gathers those of one config.
type problems struct {
	of, config string
	errs       []error
}

func (p *problems) bad(field, format string, args ...any) {
	p.errs = append(p.errs, &problem{p.of, p.config + "." + field, fmt.Sprintf(format, args...)})
}

func (p *problems) joined() error { return errors.Join(p.errs...) }

// badArgument is the error of a method of c's that can't do what it was asked for.
func (c *Cache) badArgument(method, format string, args ...any) error {
	return &problem{fmt.Sprintf("cache %q", c.name), method, fmt.Sprintf(format, args...)}
}

// checkBarn is for Config and SetBarnLimits.
func checkBarn(bad badField, full, empty string, fulls, empties int) {
	for i, n := range []int{fulls, empties} {
		if n < 0 || n > math.MaxInt32 {
			bad([]string{full, empty}[i], "%d sheaves are not within 0..%d", n, math.MaxInt32)
		}
	}
}
