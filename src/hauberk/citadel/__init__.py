"""The certificate authority: keeps the root and issuing keys, attests, signs."""
