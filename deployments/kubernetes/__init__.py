"""What the manifests of `k8s/` say about models, written from the cards. Pure but for `overlay.py`; nothing here runs."""
