package slub

import (
	"fmt"
	"math"

	"github.com/slubd/slubd/internal/configerr"
)

// configErrors gathers the errors of one config, or of one method's arguments; config is then the
// method's name. An error reads `slub: cache "NAME": Config.Size: 0 is ...`.
func configErrors(kind, name, config string) configerr.Problems {
	return configerr.Problems{Prefix: fmt.Sprintf("slub: %s %q: %s.", kind, name, config), Kind: ErrConfig}
}

// argumentError returns the error of a method that can't do what its arguments ask for.
func (c *Cache) argumentError(method, format string, args ...any) error {
	return configerr.New(fmt.Sprintf("slub: cache %q: ", c.name), ErrConfig, method, format, args...)
}

// checkBarn checks the limits of Config or SetBarnLimits, whose names are full and empty.
func checkBarn(p *configerr.Problems, full, empty string, fulls, empties int) {
	for i, n := range []int{fulls, empties} {
		if n < None || n > math.MaxInt32 && n != Unlimited {
			p.Add([]string{full, empty}[i], "%d sheaves are not within 0..%d; None keeps none", n, math.MaxInt32)
		}
	}
}
