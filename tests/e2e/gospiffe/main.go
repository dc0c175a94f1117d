// A program that knows of no mesh, only of SPIFFE by go-spiffe: for each line of input, an audience, what its two sources hold.
package main

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"os"

	"github.com/spiffe/go-spiffe/v2/svid/jwtsvid"
	"github.com/spiffe/go-spiffe/v2/workloadapi"
)

func must(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func main() {
	ctx := context.Background()
	x509, err := workloadapi.NewX509Source(ctx)
	must(err)
	defer x509.Close()
	jwt, err := workloadapi.NewJWTSource(ctx)
	must(err)
	defer jwt.Close()
	lines := bufio.NewScanner(os.Stdin)
	for lines.Scan() {
		audience := lines.Text()
		svid, err := x509.GetX509SVID()
		must(err)
		bundle, err := x509.GetX509BundleForTrustDomain(svid.ID.TrustDomain())
		must(err)
		roots := []string{}
		for _, each := range bundle.X509Authorities() {
			roots = append(roots, fmt.Sprintf("%032x", each.SerialNumber))
		}
		token, err := jwt.FetchJWTSVID(ctx, jwtsvid.Params{Audience: audience})
		must(err)
		checked, err := jwtsvid.ParseAndValidate(token.Marshal(), jwt, []string{audience})
		must(err)
		told, err := workloadapi.ValidateJWTSVID(ctx, token.Marshal(), audience)
		must(err)
		must(json.NewEncoder(os.Stdout).Encode(map[string]any{
			"spiffeId": svid.ID.String(), "serial": fmt.Sprintf("%032x", svid.Certificates[0].SerialNumber), "roots": roots,
			"checked": checked.ID.String(), "told": told.ID.String(), "hint": svid.Hint,
		}))
	}
}
