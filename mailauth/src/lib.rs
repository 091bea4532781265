//! What a message proves about its sender: SPF, DKIM, DMARC, ARC; and signing, so that ours prove it too.
