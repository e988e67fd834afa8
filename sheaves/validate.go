package sheaves

import (
	"errors"
	"fmt"
	"math"

	"github.com/slubd/slubd/internal/percpu"
)

// ErrConfig is wrapped by every problem that New finds in a Config, and by the errors of
// SetCapacity and SetLimits for numbers out of range.
var ErrConfig = errors.New("sheaves: bad config")

// validate reports every problem at once.
func (c Config) validate() error {
	var errs []error
	for _, missing := range []struct {
		field string
		is    bool
	}{
		{"Own", c.Own == nil}, {"NodeOfCPU", c.NodeOfCPU == nil}, {"NodeOf", c.NodeOf == nil},
		{"Source", c.Source == nil}, {"Domain", c.Domain == nil},
	} {
		if missing.is {
			errs = append(errs, fmt.Errorf("%w: %s is nil", ErrConfig, missing.field))
		}
	}
	if c.Slots == (percpu.Slots{}) {
		errs = append(errs, fmt.Errorf("%w: Slots are none", ErrConfig))
	}
	if c.Delay < 0 {
		errs = append(errs, fmt.Errorf("%w: Delay: %v is negative", ErrConfig, c.Delay))
	}
	return errors.Join(append(errs,
		within("Nodes", c.Nodes, 1, math.MaxInt32),
		within("Capacity", c.Capacity, 1, percpu.MaxCap),
		within("MaxFull", c.MaxFull, 0, math.MaxInt32),
		within("MaxEmpty", c.MaxEmpty, 0, math.MaxInt32),
		within("MaxWaiting", c.MaxWaiting, 0, math.MaxInt32))...)
}

// within returns an error unless least <= n <= most.
func within(field string, n, least, most int) error {
	if n < least || n > most {
		return fmt.Errorf("%w: %s: %d is not within %d..%d", ErrConfig, field, n, least, most)
	}
	return nil
}
