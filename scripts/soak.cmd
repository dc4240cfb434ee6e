@py -3 "%~dp0soak" %*
@exit /b %ERRORLEVEL%
